"""What does a grid of 24 small networks cost in pwact, in PyTorch and in plain Flax?

    python benchmarks/grid.py --torch PYTHON [--rounds 3]     writes results/grid-<backend>.json
    python benchmarks/grid.py --table                         prints the table of docs/performance.md

PYTHON is the interpreter of an environment that grid/requirements.txt describes. The quick network on
digits (1,438 images of 8x8), two norms times two widths times three learning rates times two seeds, the
quick recipe for `--epochs`: `pwact.train.grid` in one call, and the scripts that one would write in
PyTorch and in Flax NNX (grid/), a loop over networks around a step. Architecture, steps, batch size,
optimizer, schedule and evaluations (held-out images after each epoch, training images at the end) are
the same; random numbers are each library's own, so accuracies are compared first, of both norms at one
width and learning rate with twelve seeds: the difference of the means must lie within its 95 % interval
(Welch's over seeds, as networks of one seed share their order; joint for both scripts).

PyTorch takes the fastest of 1 or 2 threads, fused AdamW or not, channels last or not, on the first
network. Then each round starts a fresh process of every way, in turn, and trains the whole grid twice in
it: the first run compiles, the second finds everything compiled (PyTorch compiles nothing). Imports and
reading the images are not timed; pwact also makes its tables and differences. Ratios are medians of
ratios within the round.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import jax
import numpy as np
import scipy.stats
from sweep import RESULTS, processor

from pwact.core import backend, provenance
from pwact.data import Preprocess, digits, split
from pwact.models import quick
from pwact.train import QUICK

SCRIPTS = pathlib.Path(__file__).parent / "grid"
WAYS = {
    "pwact.train.grid": "pwact_script.py",
    "PyTorch script": "pytorch_script.py",
    "Flax NNX script": "nnx_script.py",
}
FACTORS = {"norm": ("none", "batch"), "width": (8, 16), "learning_rate": (0.003, 0.006, 0.01), "seed": (0, 1)}
TORCH_SETTINGS = {"threads": (1, 2), "fused": (True, False), "channels_last": (False, True)}
CHECKED = {"norm": ("none", "batch"), "width": (16,), "learning_rate": (0.006,), "seed": tuple(range(12))}


class Process:
    """A fresh process of one way."""

    def __init__(self, way: str, torch: str | None):
        python = torch if way == "PyTorch script" and torch else sys.executable
        self.process = subprocess.Popen(
            [python, SCRIPTS / WAYS[way]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=dict(os.environ)
            | ({} if python == torch else {"PYTHONPATH": str(pathlib.Path(__file__).parents[1])}),
        )
        self.versions = self._answer()["versions"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)


def networks(factors: dict[str, tuple]) -> list[dict[str, Any]]:
    return [dict(zip(factors, one, strict=True)) for one in itertools.product(*factors.values())]


def requested(path: pathlib.Path, epochs: int) -> dict[str, Any]:
    """What every way is asked for; the images go to `path`."""
    parts = split(digits(), seed=0)
    preprocess = Preprocess.standardise(parts["train"])
    arrays = {}
    for name, part in (("", parts["train"]), ("test_", parts["test"])):
        arrays[f"{name}images"] = np.asarray(preprocess(part.read(np.arange(len(part))).image))
        arrays[f"{name}labels"] = np.asarray(part.labels)
    np.savez(path, **arrays)
    config = quick(parts["train"].image_shape, parts["train"].num_classes)
    fields = ("batch_size", "warmup", "weight_decay", "clip_norm")
    return {
        "data": str(path),
        "networks": networks(FACTORS),
        "widths": config.widths,
        "strides": config.strides,
        "schedule": {"epochs": epochs} | {name: getattr(QUICK, name) for name in fields},
        "setting": {},
    }


def settled(request: dict[str, Any], torch: str | None) -> tuple[dict[str, Any], dict[str, float]]:
    """PyTorch's fastest setting on the first network, and what was tried."""
    process, tried = Process("PyTorch script", torch), {}
    choices = [
        dict(zip(TORCH_SETTINGS, one, strict=True)) for one in itertools.product(*TORCH_SETTINGS.values())
    ]
    for _ in range(3):
        for setting in choices:
            found = process.ask(request | {"networks": request["networks"][:1], "setting": setting})
            key = json.dumps(setting)
            tried[key] = min(found["seconds"], tried.get(key, np.inf))
    process.close()
    return json.loads(min(tried, key=tried.__getitem__)), {key: round(one, 3) for key, one in tried.items()}


def compared(requests: dict[str, dict[str, Any]], torch: str | None) -> dict[str, Any]:
    """Accuracy of each way on CHECKED, and its difference from pwact's; stops where they differ."""
    by_seed, found = {}, {}
    for way, request in requests.items():
        process = Process(way, torch)
        values = process.ask(request | {"networks": networks(CHECKED)})["accuracies"]
        process.close()
        by_seed[way] = np.array(values).reshape(-1, len(CHECKED["seed"])).mean(0)
    own = by_seed["pwact.train.grid"]
    for way, values in by_seed.items():
        found[way] = {"mean_accuracy": round(float(values.mean()), 4)}
        if way == "pwact.train.grid":
            continue
        interval = scipy.stats.ttest_ind(values, own, equal_var=False).confidence_interval(
            1 - 0.05 / (len(requests) - 1)
        )
        found[way]["minus_pwact"] = round(float(values.mean() - own.mean()), 4)
        found[way]["interval"] = [round(float(interval.low), 4), round(float(interval.high), 4)]
        if not interval.low <= 0 <= interval.high:
            raise SystemExit(f"{way} does not train the same networks: {found}")
    return found


def measure(rounds: int, epochs: int, torch: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        request = requested(pathlib.Path(home) / "data.npz", epochs)
        setting, tried = settled(request, torch)
        requests = {way: request | ({"setting": setting} if "PyTorch" in way else {}) for way in WAYS}
        seconds: dict[str, dict[str, list[float]]] = {way: {"first": [], "again": []} for way in WAYS}
        compare = compared(requests, torch)
        print(compare, file=sys.stderr, flush=True)
        versions, loads = {}, []
        for number in range(rounds):
            loads.append(round(os.getloadavg()[0], 2))
            names = list(WAYS)
            for way in names[number % len(names) :] + names[: number % len(names)]:
                process = Process(way, torch)
                versions[way] = process.versions
                for run in ("first", "again"):
                    seconds[way][run].append(process.ask(requests[way])["seconds"])
                process.close()
                print(f"round {number + 1}: {way}: {seconds[way]}", file=sys.stderr, flush=True)
    return {
        "claim": "a grid of 24 small networks in one call against the scripts that one would write",
        "networks": len(request["networks"]),
        "factors": FACTORS,
        "checked": CHECKED,
        "schedule": request["schedule"],
        "steps_a_network": epochs
        * (len(split(digits(), seed=0)["train"]) // request["schedule"]["batch_size"]),
        "accuracies": compare,
        "median_seconds": {
            way: {run: round(statistics.median(every), 2) for run, every in runs.items()}
            for way, runs in seconds.items()
        },
        "times_pwact": {
            way: {
                run: round(
                    statistics.median(
                        a / b for a, b in zip(every, seconds["pwact.train.grid"][run], strict=True)
                    ),
                    2,
                )
                for run, every in runs.items()
            }
            for way, runs in seconds.items()
        },
        "all_seconds": seconds,
        "torch_setting": setting,
        "torch_settings_tried_seconds": tried,
        "way_versions": versions,
        "rounds": rounds,
        "loads_before_rounds": loads,
        "load_after": round(os.getloadavg()[0], 2),
        "cores": backend.cores(),
        "processor": processor(),
        **provenance.machine(),
    }


def table(found: dict[str, Any]) -> str:
    """In Markdown."""
    rows = [
        "| 24 networks | first run, s | again, s | times pwact, first | again | mean accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for way, seconds in found["median_seconds"].items():
        times, score = found["times_pwact"][way], found["accuracies"][way]["mean_accuracy"]
        rows.append(
            f"| {way} | {seconds['first']:.1f} | {seconds['again']:.1f} | {times['first']:.2f} | "
            f"{times['again']:.2f} | {score:.1%} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", help="Python that has PyTorch; this one if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    path = RESULTS / f"grid-{jax.default_backend()}.json"
    if not options.table:
        found = measure(options.rounds, options.epochs, options.torch)
        path.write_text(json.dumps(found, indent=1) + "\n")
    print(table(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
