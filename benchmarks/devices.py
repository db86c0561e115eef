"""What does a sweep on several devices cost or gain, and are its numbers those of one device?

    python benchmarks/devices.py [--rounds 5]    measures and writes results/devices-<backend>.json; 3 minutes

Workload W of benchmarks/sweep.py with its six statistics, on 1, 2, 4, ... of the devices that there are. On
CPU there are eight, forced out of the same cores: they cannot be faster than one, and what the figures show
there is the cost of dealing and merging. On accelerators each device is one more.

Counts and indices must be equal on any number of devices, means within 1e-5 of the largest activation, before
anything is timed. All run in turn within each round; a ratio is the median over rounds of ratios within it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

import jax
import numpy as np
from sweep import RESULTS, SIX, in_turn, processor, ratio, sweeper, workload

from pwact.core import backend, provenance


def check(one, other) -> float:
    """The largest difference of a mean, in units of the site's largest activation."""
    worst = 0.0
    for node in one.leaves:
        found = other[node.path]
        largest = float(node["extrema.max"].max())
        for name, value in node.data_vars.items():
            if np.issubdtype(value.dtype, np.integer):
                np.testing.assert_array_equal(found[name], value, err_msg=name)
        worst = max(worst, float(np.abs(found["moments.mean"] - node["moments.mean"]).max()) / largest)
    assert worst < 1e-5, worst
    return worst


def measure(rounds: int) -> dict:
    variables, _, _, data = workload()
    devices = jax.devices()
    numbers = [number for number in (1, 2, 4, 8, 16) if number <= len(devices)]
    ways = {str(number): sweeper(variables, data, SIX, devices=devices[:number]) for number in numbers}
    found = {name: run() for name, run in ways.items()}
    differences = {name: float(f"{check(found['1'], tree):.1e}") for name, tree in found.items()}
    seconds = in_turn(ways, rounds)
    return {
        "images": len(data),
        "rounds": rounds,
        "largest_difference_from_one_device": differences,
        "median_seconds": {name: round(statistics.median(times), 4) for name, times in seconds.items()},
        "ratio_to_one_device": {
            name: round(ratio(times, seconds["1"]), 3) for name, times in seconds.items()
        },
        "all_seconds": {name: [round(value, 4) for value in times] for name, times in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = {
        "claim": "the same numbers on any number of devices; those forced out of the same cores gain nothing",
        "cores": backend.cores(),
        "processor": processor(),
        "load_before": round(os.getloadavg()[0], 2),
        "machine": provenance.machine(),
        "measured": measure(options.rounds),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"devices-{jax.default_backend()}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: result["measured"][name] for name in ("median_seconds", "ratio_to_one_device")}))


if __name__ == "__main__":
    main()
