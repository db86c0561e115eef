"""How does an epoch of training grow with networks and with their width?

    python benchmarks/training_growth.py [--rounds 5]   measures, results/training-growth-<backend>.json, .svg
    python benchmarks/training_growth.py --plot         draws the picture again from that file

The quick network and recipe on digits, 1,438 images of 8x8. One thing varies: the seeds of one call, at
16 channels; or the first block's channels, the others in proportion, at two seeds. Sizes run in turn
within each round; a figure is the median of the rounds. Compiling and drawing the first variables are in
the first call of each size, which is timed apart; sizes that share a program find it compiled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sweep import RESULTS, processor

from pwact.core import backend, provenance
from pwact.data import Dataset, digits, split
from pwact.models import multiplications, quick
from pwact.train import QUICK, train
from pwact.train.company import Company

SEEDS = (1, 2, 5, 10, 20)
WIDTHS = (8, 16, 32, 64)
WIDE_SEEDS = 2


def epoch(data: Dataset, seeds: int, width: int) -> Callable[[], None]:
    """Trains one more epoch of so many networks of this width."""
    config = quick(data.image_shape, data.num_classes)
    config = dataclasses.replace(
        config, widths=tuple(each * width // config.widths[0] for each in config.widths)
    )
    networks = train(config, data, seeds=range(seeds), treatment="untrained")
    company = Company(networks, data, devices=1, resident=True)
    state: dict[str, Any] = {}

    def run() -> None:
        carries = state["carries"] if state else company.init()
        state["carries"], _ = company.steps(carries, 0, 0, company.task.steps)

    return run


def measure(rounds: int) -> dict[str, Any]:
    data = split(digits(), seed=0)["train"]
    config = quick(data.image_shape, data.num_classes)
    before = os.getloadavg()[0]
    cases = {
        "seeds": {seeds: epoch(data, seeds, config.widths[0]) for seeds in SEEDS},
        "width": {width: epoch(data, WIDE_SEEDS, width) for width in WIDTHS},
    }
    first = {what: {size: seconds(run) for size, run in sizes.items()} for what, sizes in cases.items()}
    taken: dict[str, dict[int, list[float]]] = {
        what: {size: [] for size in sizes} for what, sizes in cases.items()
    }
    for _ in range(rounds):
        for what, sizes in cases.items():
            for size, run in sizes.items():
                taken[what][size].append(seconds(run))
    return {
        "claim": "seconds of one epoch of the quick network on digits by number of seeds and by width",
        "seconds": {
            what: {size: round(statistics.median(every), 4) for size, every in sizes.items()}
            for what, sizes in taken.items()
        },
        "first_seconds": {
            what: {size: round(value, 2) for size, value in sizes.items()} for what, sizes in first.items()
        },
        "multiplications_an_image": {
            width: multiplications(
                dataclasses.replace(
                    config, widths=tuple(each * width // config.widths[0] for each in config.widths)
                )
            )
            for width in WIDTHS
        },
        "images": len(data),
        "width_of_seeds": config.widths[0],
        "seeds_of_width": WIDE_SEEDS,
        "recipe": QUICK.to_dict(),
        "plan": backend.seed_plan(max(SEEDS))._asdict(),
        "rounds": rounds,
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "cores": backend.cores(),
        "processor": processor(),
        **provenance.machine(),
    }


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def draw(found: dict[str, Any], path: pathlib.Path) -> None:
    """One panel a thing that varies; dashed is growth in proportion (of width: to the multiplications)."""
    import matplotlib

    matplotlib.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none"}
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    counts = found["multiplications_an_image"]
    work = {"seeds": lambda size: float(size), "width": lambda size: float(counts[size])}
    words = {"seeds": "networks of one call", "width": "channels of the first block"}
    for axes, (what, sizes) in zip(figure.subplots(1, 2), found["seconds"].items(), strict=True):
        x, y = np.array([float(size) for size in sizes]), np.array(list(sizes.values()))
        share = np.array([work[what](size) for size in sizes])
        axes.loglog(x, y, "o-", color="black", label="measured")
        axes.loglog(x, y[-1] * share / share[-1], "--", color="grey", label="in proportion to the work")
        axes.set(xlabel=words[what], ylabel="seconds an epoch", title=f"growth with {what}")
        axes.set_xticks(x, list(sizes), minor=False)
        axes.minorticks_off()
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    path = RESULTS / f"training-growth-{jax.default_backend()}.json"
    if not options.plot:
        path.write_text(json.dumps(measure(options.rounds), indent=1) + "\n")
    found = json.loads(path.read_text())
    draw(found, path.with_suffix(".svg"))
    for what, sizes in found["seconds"].items():
        print(what, sizes, "first call", found["first_seconds"][what])


if __name__ == "__main__":
    main()
