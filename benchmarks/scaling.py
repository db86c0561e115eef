"""How does a sweep grow with images, sites, classes and devices?

    python benchmarks/scaling.py [--rounds 3]     measures, writes results/scaling-<backend>.json, .svg
    python benchmarks/scaling.py --devices        measures the devices alone, and leaves the rest of the file
    python benchmarks/scaling.py --plot           draws the picture again from that file

The network of workload W (benchmarks/sweep.py); count, mean, variance, extrema and firing at every point. One
thing varies, the others stay at 2,048 images, the four ReLU maps, no classes, one device. Sizes run in turn
within each round; a figure is the median of the rounds. Compiling is timed apart, in each size's first call.

Each number of devices has a process of its own, which waits while the others run. On CPU they are forced out
of the same cores: what is seen there is what dealing and merging cost. An accelerator is a device more.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sweep import RESULTS, SIX, forward, make_variables, processor, sweeper

import pwact
from pwact.core import provenance
from pwact.stats import by_class

IMAGES = (512, 1024, 2048, 4096, 8192)
SITES = (1, 2, 3, 4)
CLASSES = (2, 10, 100, 1000)
DEVICES = (1, 2, 4, 8)


def cases() -> dict[str, dict[int, Callable[[], Any]]]:
    """Of each thing that varies, and each size of it, the sweep to time."""
    variables = make_variables(jax.random.key(0))
    images = np.random.default_rng(0).normal(size=(max(IMAGES), 32, 32, 3)).astype(np.float32)

    def model(variables: dict, image: jax.Array) -> jax.Array:
        return forward(variables, image)[0]

    probe = pwact.probe(model, images[:2], variables=variables)
    sites = [name for name in probe.sites if "relu" in name]

    def sweep(number: int, some: list[str], asked: dict[str, Any], classes: int) -> Callable[[], Any]:
        label = np.arange(number) % classes
        data = pwact.data.arrays(images[:number], label, num_classes=classes, name="W")
        return lambda: pwact.sweep(probe, variables, data, asked, sites=some, micro_batch=16)

    return {
        "images": {number: sweep(number, sites, SIX, 10) for number in IMAGES},
        "sites": {number: sweep(2048, sites[:number], SIX, 10) for number in SITES},
        "classes": {
            number: sweep(2048, sites, {name: by_class(acc, number) for name, acc in SIX.items()}, number)
            for number in CLASSES
        },
    }


def measure(rounds: int) -> dict[str, Any]:
    every = cases()
    first: dict[str, dict[int, float]] = {}
    for what, sizes in every.items():
        first[what] = {size: seconds(run) for size, run in sizes.items()}
    taken: dict[str, dict[int, list[float]]] = {
        what: {size: [] for size in sizes} for what, sizes in every.items()
    }
    for _ in range(rounds):
        for what, sizes in every.items():
            for size, run in sizes.items():
                taken[what][size].append(seconds(run))
    first["devices"], taken["devices"] = by_devices(rounds)
    median = {
        what: {size: statistics.median(all_) for size, all_ in sizes.items()} for what, sizes in taken.items()
    }
    return {
        "claim": "seconds of a sweep of workload W's network by number of images, sites, classes and devices",
        "seconds": median,
        "compile_seconds": {
            what: {size: first[what][size] - median[what][size] for size in sizes}
            for what, sizes in median.items()
        },
        "rounds": rounds,
        "load_average": os.getloadavg()[0],
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        **provenance.machine(),
    }


def by_devices(rounds: int) -> tuple[dict[int, float], dict[int, list[float]]]:
    """Seconds of the first call and of the rounds, by number of devices, each in a process of its own."""
    workers = {}
    cpu = jax.default_backend() == "cpu"
    for number in DEVICES if cpu else [each for each in DEVICES if each <= jax.device_count()]:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={number}"
        workers[number] = subprocess.Popen(
            [sys.executable, __file__, "--worker", str(number)],
            env={**os.environ, "XLA_FLAGS": flags if cpu else os.environ.get("XLA_FLAGS", "")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    first = {number: answer(worker) for number, worker in workers.items()}
    taken: dict[int, list[float]] = {number: [] for number in workers}
    for _ in range(rounds):
        for number, worker in workers.items():
            taken[number].append(answer(worker))
    for worker in workers.values():
        worker.communicate()
    return first, taken


def answer(worker: subprocess.Popen) -> float:
    """One sweep of a worker, timed by itself."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def serve(devices: int) -> None:
    """Sweep whenever a line comes, on that many devices, and say how long it took."""
    images = np.random.default_rng(0).normal(size=(2048, 32, 32, 3)).astype(np.float32)
    data = pwact.data.arrays(images, np.zeros(2048, int), num_classes=1, name="W")
    run = sweeper(
        make_variables(jax.random.key(0)), data, SIX, micro_batch=16, devices=jax.devices()[:devices]
    )
    for _ in sys.stdin:
        print(seconds(run), flush=True)


def seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def draw(found: dict[str, Any], path: pathlib.Path) -> None:
    """One panel a thing that varies; dashed is growth in proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, (what, sizes) in zip(
        figure.subplots(1, len(found["seconds"])), found["seconds"].items(), strict=True
    ):
        x, y = np.array([float(size) for size in sizes]), np.array(list(sizes.values()))
        axes.loglog(x, y, "o-", color="black", label="measured")
        even = y[0] * (x / x[0]) ** (what != "devices")  # forced devices share the same cores
        axes.loglog(x, even, "--", color="grey", label="in proportion" if what != "devices" else "as one")
        axes.set(xlabel=what, ylabel="seconds", title=f"growth with {what}")
        axes.set_xticks(x, [f"{size:,.0f}" for size in x], minor=False)
        axes.minorticks_off()
        axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--devices", action="store_true", help="measure the devices, and leave the rest")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options.worker)
        return
    path = RESULTS / f"scaling-{jax.default_backend()}.json"
    if options.devices:
        found = json.loads(path.read_text())
        first, taken = by_devices(options.rounds)
        median = {number: statistics.median(all_) for number, all_ in taken.items()}
        found["seconds"]["devices"] = median
        found["compile_seconds"]["devices"] = {number: first[number] - median[number] for number in first}
        found["load_average_devices"] = os.getloadavg()[0]
        path.write_text(json.dumps(found, indent=1) + "\n")
    elif not options.plot:
        path.write_text(json.dumps(measure(options.rounds), indent=1) + "\n")
    found = json.loads(path.read_text())
    draw(found, path.with_suffix(".svg"))
    for what, sizes in found["seconds"].items():
        print(what, {size: round(value, 2) for size, value in sizes.items()})
    print(
        "compiling", {w: {s: round(v, 1) for s, v in z.items()} for w, z in found["compile_seconds"].items()}
    )


if __name__ == "__main__":
    main()
