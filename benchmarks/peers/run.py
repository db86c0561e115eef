"""The same statistics of the same network through pwact and through what people use today.

    python benchmarks/peers/run.py                        everything: environments, checks, search, rounds
    python benchmarks/peers/run.py --peers baukit,captum  these only, and pwact
    python benchmarks/peers/run.py --table                prints the table of docs/performance.md
    python benchmarks/peers/run.py --plot                 draws the plot again from the last result

Workload W of benchmarks/sweep.py. Every peer is a script of its own in an environment of its own, made from
its file in requirements/ below --venvs (several GB for PyTorch), and runs as a process that waits its turn.

1. Settings are run over the first images, their numbers compared with float64 (reference.py says within what)
   and then timed. The search takes one option after the other, then the batch once more, and keeps what was
   fastest; where any setting's numbers hold, one whose numbers differ cannot win.
2. The best setting of each is run over all images, compared again, and timed in rounds that take turns.
   A ratio is the median over rounds of ratios within the round.
3. A fresh process of each runs twice for its memory, beyond what it held with the images loaded.

Seconds are from images in the host's memory to statistics in the host's memory, compilation left out.
Writes results/peers-<device>.json and .svg beside this folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

import environments
import numpy as np
from picture import draw, table
from reference import COVARIANCE, RANK, RELATIVE, SIX, SIX_FIRED, Reference
from worker import QUANTILES, TOP, Work

sys.path.insert(1, str(pathlib.Path(__file__).parents[1]))
import sweep as own

from pwact.core import provenance

RESULTS = own.RESULTS
ONE_BY_ONE = 256  # images of ways that take one at a time; their seconds are scaled to all
LONG = 10.0  # nor is one that takes this many seconds
SLOW = 3.0  # a setting this many times slower than the best so far is not timed a second time


@dataclass(frozen=True)
class Way:
    """One line of a comparison: a peer's script, the task as the script calls it, and what it leaves out."""

    name: str
    peer: str
    task: str
    lacks: str = ""
    images: int | None = None


SCRIPTS = {  # peer: script, requirements
    "pwact": ("pwact_sweep.py", None),
    "numpy": ("numpy_loops.py", None),
    "jax": ("jax_user.py", None),
    "torch": ("torch_hooks.py", "torch_hooks.txt"),
    "baukit": ("baukit_running.py", "baukit.txt"),
    "captum": ("captum_summarizer.py", "captum.txt"),
    "torchlens": ("torchlens_torch.py", "torchlens.txt"),
    "torchlens_jax": ("torchlens_jax.py", "torchlens_jax.txt"),
}
POINTWISE = "TorchLens's own statistics are not of points: it is given one, and reaches the activations"
COMPARISONS = {
    "six": (
        Way("pwact.sweep", "pwact", "six"),
        Way("NumPy, batch by batch", "numpy", "six"),
        Way("NumPy, image by image", "numpy", "six by image", images=ONE_BY_ONE),
        Way("Flax capture or sow, NumPy", "jax", "six"),
        Way("JAX, a jitted update by hand", "jax", "six by hand"),
        Way("PyTorch hooks", "torch", "six"),
        Way("PyTorch, compiled by hand", "torch", "six by hand"),
        Way("baukit", "baukit", "six"),
        Way("baukit, its own Variance", "baukit", "six by Variance"),
        Way("Captum", "captum", "six", lacks="does not say which image gave an extremum"),
        Way("TorchLens", "torchlens", "six", lacks=POINTWISE),
        Way("TorchLens for JAX", "torchlens_jax", "six", lacks="no statistics: NumPy adds up"),
    ),
    "covariance": (
        Way("pwact.sweep", "pwact", "covariance"),
        Way("baukit", "baukit", "covariance"),
        Way("TorchLens", "torchlens", "covariance"),
    ),
    "top": (
        Way("pwact.sweep", "pwact", "top"),
        Way("baukit", "baukit", "top", lacks="does not say where in the map"),
    ),
    "quantiles": (
        Way("pwact.sweep", "pwact", "quantiles"),
        Way("baukit", "baukit", "quantiles"),
    ),
    "forward": (
        Way("JAX, bare forward", "jax", "forward"),
        Way("PyTorch, bare forward", "torch", "forward"),
    ),
}
SHOWN = {
    "six": "count, mean, variance, extrema with their images, firing: at every point of all four ReLU maps",
    "covariance": "covariance of the channels of each of the four maps, every position a sample",
    "top": f"the {TOP} images with the largest activation of each channel of the four maps",
    "quantiles": f"quantiles {QUANTILES} of each channel of the four maps, every position a sample",
    "forward": "the logits alone",
}


class Worker:
    """A peer's process, which answers one request at a time."""

    def __init__(self, peer: str, options: argparse.Namespace):
        script, requirements = SCRIPTS[peer]
        python = environments.python_of(requirements, options.venvs)
        source = environments.baukit(options.baukit, options.venvs) if peer == "baukit" else None
        self.process = subprocess.Popen(
            [python, environments.HERE / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not options.verbose else None,
            text=True,
            env=environments.variables(source),
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with {self.process.wait()}"}

    def close(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


@dataclass
class Bench:
    """Workers, references and what has been found so far."""

    options: argparse.Namespace
    workload: pathlib.Path
    scratch: pathlib.Path
    workers: dict[str, Worker] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    references: dict[int, Reference] = field(default_factory=dict)

    def worker(self, peer: str) -> Worker:
        if peer not in self.workers:
            self.workers[peer] = Worker(peer, self.options)
            self.about[peer] = self.workers[peer].ask(do="describe")
            if "error" in self.about[peer]:
                raise SystemExit(f"{peer} cannot start: {self.about[peer]['error']}; --verbose shows why")
        return self.workers[peer]

    def reference(self, images: int) -> Reference:
        if images not in self.references:
            self.references[images] = Reference(Work.load(str(self.workload), images))
        return self.references[images]

    def images(self, way: Way, wanted: int) -> int:
        return min(way.images or wanted, wanted)

    def run(self, way: Way, setting: dict, images: int, worker: Worker | None = None, **more: Any) -> dict:
        where = {"workload": str(self.workload), "images": self.images(way, images)}
        ask = (worker or self.worker(way.peer)).ask
        return ask(do="run", task=way.task, setting=setting, **where, **more)

    def checked(self, way: Way, setting: dict, images: int) -> dict[str, Any]:
        """Run once and compare with float64: `off` in units of the tolerance, `holds`, or an `error`."""
        path = self.scratch / "result.npz"
        answer = self.run(way, setting, images, save=str(path))
        task = way.task.split(" ")[0]
        if "error" in answer or task == "forward":
            return answer | {"holds": "error" not in answer}
        with np.load(path) as stored:
            off = self.reference(self.images(way, images)).difference(task, dict(stored))
        rounded = {name: float(f"{value:.2g}") for name, value in off.items()}
        return answer | {"off": rounded, "holds": Reference.holds(task, off)}

    def search(self, way: Way) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fastest setting of a way on the first images, and what was tried."""
        self.worker(way.peer)
        choices = {name: tuple(values) for name, values in self.about[way.peer]["choices"][way.task].items()}
        best = {name: values[0] for name, values in choices.items()}
        tried: dict[str, Any] = {}

        def cost(setting: dict[str, Any], limit: float) -> tuple[bool, float]:
            """Whether the numbers differ, and seconds: what is compared in this order."""
            key = ", ".join(f"{name} {value}" for name, value in setting.items()) or "as it comes"
            if key not in tried:
                first = self.checked(way, setting, self.options.search_images)
                if "error" in first:
                    tried[key] = first["error"]
                else:
                    again = [self.run(way, setting, self.options.search_images)["seconds"]]
                    if again[0] < min(SLOW * limit, LONG):
                        again += [self.run(way, setting, self.options.search_images)["seconds"]]
                    tried[key] = {"seconds": round(min(again), 4)}
                    tried[key] |= {} if first["holds"] else {"differs": first["off"]}
                print(f"  {way.name}: {key}: {tried[key]}", file=sys.stderr, flush=True)
            found = tried[key]
            return (True, math.inf) if isinstance(found, str) else ("differs" in found, found["seconds"])

        least = cost(best, math.inf)
        for name in [*choices, *(["batch"] if "batch" in choices else [])]:
            for value in choices[name]:
                setting = best | {name: value}
                if (found := cost(setting, least[1])) < least:
                    best, least = setting, found
        self.worker(way.peer).ask(do="forget", task=way.task)
        return best, tried

    def memory(self, way: Way, setting: dict[str, Any]) -> dict[str, Any]:
        """MiB that a fresh process grows by, at most, in its first run, which may compile, and its second."""
        worker = Worker(way.peer, self.options)
        runs = [self.run(way, setting, self.options.images, worker) for _ in range(2)]
        worker.close()
        if any("error" in one for one in runs):
            return {"error": next(one["error"] for one in runs if "error" in one)}
        first, second = ((one["resident_peak"] - runs[0]["resident_before"]) / 2**20 for one in runs)
        found: dict[str, Any] = {"first_run_mib": round(first), "second_run_mib": round(second)}
        found["first_run_seconds"] = round(runs[0]["seconds"], 2)
        if runs[1]["device_peak"] is not None:
            found["device_mib"] = round(runs[1]["device_peak"] / 2**20)
        return found


def settle(bench: Bench, way: Way) -> dict[str, Any]:
    """The best setting of a way, and how its numbers over all images compare with float64."""
    setting, tried = bench.search(way)
    entry: dict[str, Any] = {"peer": way.peer, "setting": setting}
    if way.lacks:
        entry["lacks"] = way.lacks
    if way.images:
        entry["images_run"] = bench.images(way, bench.options.images)
    found = bench.checked(way, setting, bench.options.images)
    entry |= {name: found[name] for name in ("error", "holds", "off") if name in found}
    print(f"{way.name}: {setting}, {found}", file=sys.stderr, flush=True)
    return entry | {"searched": tried}


def measure(bench: Bench, ways: dict[str, list[Way]]) -> dict[str, Any]:
    options = bench.options
    report = {name: {way.name: settle(bench, way) for way in members} for name, members in ways.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    loads = []
    for number in range(options.rounds):
        loads.append(round(os.getloadavg()[0], 2))
        for comparison, members in ways.items():
            turn = number % len(members)
            for way in members[turn:] + members[:turn]:
                entry = report[comparison][way.name]
                if "error" in entry:
                    continue
                answer = bench.run(way, entry["setting"], options.images)
                if "error" in answer:
                    entry["error"] = answer["error"]
                    continue
                scale = options.images / bench.images(way, options.images)
                seconds.setdefault((comparison, way.name), []).append(answer["seconds"] * scale)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    for worker in bench.workers.values():
        worker.close()
    for comparison, members in ways.items():
        first = members[0].name
        for way in members:
            entry = report[comparison][way.name]
            if "error" in entry:
                continue
            took = seconds[comparison, way.name]
            entry["median_seconds"] = round(statistics.median(took), 4)
            entry[f"times_{first}"] = round(own.ratio(took, seconds[comparison, first]), 3)
            entry["all_seconds"] = [round(value, 4) for value in took]
            entry["memory"] = bench.memory(way, entry["setting"])
    return {"loads_before_rounds": loads, "comparisons": report}


def write_workload(path: pathlib.Path, images: int) -> None:
    variables, pixels, label, _ = own.workload()
    layers = {f"kernel{i}": layer["kernel"] for i, layer in enumerate(variables["conv"])}
    layers |= {f"bias{i}": layer["bias"] for i, layer in enumerate(variables["conv"])}
    np.savez(path, images=pixels[:images], labels=label[:images], head=variables["head"], **layers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", default=",".join(SCRIPTS), help="which, besides pwact, with commas between"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=own.IMAGES)
    parser.add_argument("--search-images", type=int, default=1024)
    parser.add_argument(
        "--venvs", type=pathlib.Path, default=pathlib.Path(".venv.peers"), help="their folder"
    )
    parser.add_argument("--baukit", default=environments.BAUKIT, help="where git finds baukit")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--device", default="cpu", help="of the result that --table and --plot read")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="show what the peers print")
    options = parser.parse_args()
    options.venvs = options.venvs.resolve()
    stored = options.output / f"peers-{options.device}.json"
    if options.table:
        print(table(json.loads(stored.read_text())))
        return
    if options.plot:
        draw(json.loads(stored.read_text()), stored.with_suffix(".svg"))
        return
    options.search_images = min(options.search_images, options.images)
    chosen = {"pwact", *options.peers.split(",")}
    if unknown := chosen - set(SCRIPTS):
        raise SystemExit(f"expected peers among {', '.join(SCRIPTS)}; found {', '.join(sorted(unknown))}")
    ways = {name: [way for way in members if way.peer in chosen] for name, members in COMPARISONS.items()}
    ways = {name: members for name, members in ways.items() if len(members) > 1 or name == "six"}
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as scratch:
        workload = pathlib.Path(scratch) / "workload.npz"
        write_workload(workload, options.images)
        bench = Bench(options, workload, pathlib.Path(scratch))
        measured = measure(bench, ways)
    device = "gpu" if any(one["device"] != "cpu" for one in bench.about.values()) else "cpu"
    result = {
        "claim": "faster than every peer on equal work and equal weights, at the best settings found of each",
        "what": {name: SHOWN[name] for name in ways},
        "tolerances": {
            "six": f"{SIX} of the site's largest activation; firing {SIX_FIRED} images at a point",
            "covariance": f"{COVARIANCE} of the site's largest",
            "top": f"{SIX} of the site's largest activation",
            "quantiles": f"rank within {RANK} or value within {RELATIVE}",
            "off": "differences from float64 in units of these",
        },
        "images": options.images,
        "search_images": options.search_images,
        "rounds": options.rounds,
        "cores": own.backend.cores(),
        "processor": own.processor(),
        "load_before": load,
        "machine": provenance.machine(),
        "peers": {
            name: {"versions": one["versions"], "device": one["device"]} for name, one in bench.about.items()
        },
        "baukit_commit": environments.BAUKIT_COMMIT,
        **measured,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"peers-{device}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    draw(result, path.with_suffix(".svg"))
    print(table(result))


if __name__ == "__main__":
    main()
