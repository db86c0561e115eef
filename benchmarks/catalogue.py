"""What does every statistic cost, alone and all at once, beside the bare forward pass?

    python benchmarks/catalogue.py [--rounds 5]   measures, writes results/catalogue-<backend>.json; 6 minutes
    python benchmarks/catalogue.py --table        prints the table of docs/performance.md from that file

The network and sites of workload W (benchmarks/sweep.py), 1,024 images. Every statistic that reads them once
and needs neither masks nor gradients is swept alone, and all are swept together; those that read them several
times are swept alone, and divided by how often they read. A figure is the median over rounds of the
ratio, within the round, to the bare forward pass: of seconds, and of the seconds that the processors worked,
which other work on the machine hardly changes. `nothing` counts images: what looking at the sites costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from sweep import CLASSES, RESULTS, SIX, bare_candidates, processor, sweeper, workload

import pwact
from pwact import stats
from pwact.core import backend, provenance
from pwact.core.accumulator import Accumulator, Named

IMAGES, TARGET = 1024, 4.0
NOTHING = Accumulator(
    lambda spec: jnp.zeros((), jnp.int32),
    lambda state, seen: state + seen.valid.sum(dtype=jnp.int32),
    lambda left, right: left + right,
    lambda state: {"count": Named(state, ())},
)
ONE_READING: dict[str, Any] = {
    "moments(order=4)": stats.moments(order=4),
    "extrema()": stats.extrema(),
    "firing()": stats.firing(),
    "density()": stats.density(),
    "lifetime_sparsity()": stats.lifetime_sparsity(),
    "population_sparsity()": stats.population_sparsity(),
    "population_gini()": stats.population_gini(),
    "top_k(9)": stats.top_k(9),
    "bottom_k(9)": stats.bottom_k(9),
    "per_channel(histogram(range=(0, 8)))": stats.per_channel(stats.histogram(range=(0, 8))),
    "per_channel(quantiles())": stats.per_channel(stats.quantiles((0.05, 0.5, 0.995))),
    "mutual_information(10)": stats.mutual_information(CLASSES),
    "selectivity(10)": stats.selectivity(CLASSES),
    "accuracy()": stats.accuracy(),
    "calibration_error()": stats.calibration_error(),
    "confusion(10)": stats.confusion(CLASSES),
    "covariance()": stats.covariance(),
    "coactivation()": stats.coactivation(),
    "pca(8)": stats.pca(8),
    "cross_covariance()": stats.cross_covariance(),
    "hsic()": stats.hsic(),
    "cka()": stats.cka(),
}
SEVERAL_READINGS: dict[str, Any] = {
    "lifetime_gini()": stats.lifetime_gini(),
    "per_channel(exact_quantiles())": stats.per_channel(stats.exact_quantiles()),
    "per_channel(histogram())": stats.per_channel(stats.histogram()),
}


def seconds_of(run: Callable[[], Any]) -> tuple[float, float]:
    """On the clock, and of the processors."""
    wall, work = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - work


def measure(rounds: int) -> dict[str, Any]:
    variables, images, label, _ = workload()
    images, label = images[:IMAGES], label[:IMAGES]
    data = pwact.data.arrays(images, label, num_classes=CLASSES, name="noise")
    named = {
        f"s{number}": acc for number, acc in enumerate(acc for acc in ONE_READING.values())
    }  # a name of a result holds no brackets
    alone = {"nothing": NOTHING, **ONE_READING, **SEVERAL_READINGS}
    bare = bare_candidates(variables, images)
    ways: dict[str, Callable[[], Any]] = {
        name: bare[name] for name in ("batch 256, default", "batch 128, default")
    }
    ways |= {name: sweeper(variables, data, {"s": acc}) for name, acc in alone.items()}
    ways["the six of benchmarks/sweep.py"] = sweeper(variables, data, SIX)
    ways["all of one reading at once"] = sweeper(variables, data, named)
    for run in ways.values():
        run()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken[name].append(seconds_of(ways[name]))
    fastest = min(bare.keys() & ways.keys(), key=lambda name: statistics.median(w for w, _ in taken[name]))
    passes = {name: acc.passes for name, acc in alone.items()}
    return {
        "images": IMAGES,
        "rounds": rounds,
        "bare_forward": fastest,
        "median_seconds": {
            name: round(statistics.median(w for w, _ in all_), 4) for name, all_ in taken.items()
        },
        "readings": {name: number for name, number in passes.items() if number > 1},
        "ratio_a_reading": {
            name: {
                what: round(
                    statistics.median(
                        one[at] / other[at] for one, other in zip(all_, taken[fastest], strict=True)
                    )
                    / passes.get(name, 1),
                    2,
                )
                for at, what in enumerate(("seconds", "processor_seconds"))
            }
            for name, all_ in taken.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """In Markdown, the costliest first."""
    measured = result["measured"]
    rows = ["| statistics | seconds | work of the processors |", "|---|---|---|"]
    ratios = measured["ratio_a_reading"].items()
    for name, ratio in sorted(ratios, key=lambda one: -one[1]["processor_seconds"]):
        readings = measured["readings"].get(name)
        shown = f"`{name}`" if "(" in name else name
        shown += f", each of {readings} readings" if readings else ""
        rows.append(f"| {shown} | {ratio['seconds']:.2f} | {ratio['processor_seconds']:.2f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="print the table from the last result")
    options = parser.parse_args()
    path = RESULTS / f"catalogue-{jax.default_backend()}.json"
    if not options.table:
        load = round(os.getloadavg()[0], 2)
        result = {
            "claim": f"the catalogue at once in at most {TARGET} times the bare forward pass",
            "cores": backend.cores(),
            "processor": processor(),
            "load_before": load,
            "machine": provenance.machine(),
            "measured": measure(options.rounds),
        }
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(table(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
