"""Is the peak memory of a sweep what the plan says, and flat in the number of images?

    python benchmarks/memory.py [--case NAME ...]    measures and writes results/memory-<backend>.json
    python benchmarks/memory.py --table              prints the table of docs/performance.md from that file

Each case is a process of its own: the growth of its resident memory, from just before the sweep to its peak,
as Linux tells of it (VmHWM), beside `pwact.plan(...).peak_bytes` of the same question. The network is that of
benchmarks/sweep.py, its images 32x32x3 are there before.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys

RESULTS = pathlib.Path(__file__).parent / "results"
TARGET = 0.2
CASES = {
    "moments by class, 1,000 classes": ("by_class(moments(), 1000)", 2048),
    "moments by class, 1,000 classes, twice the images": ("by_class(moments(), 1000)", 4096),
    "top_k(100) of 1,000 classes": ("by_class(top_k(100), 1000)", 2048),
    "histogram, 256 bins": ("histogram(256, range=(0.0, 8.0))", 2048),
    "covariance by class, 1,000 classes": ("by_class(covariance(), 1000)", 2048),
    "pca by class, 200 classes": ("by_class(pca(8), 200)", 2048),
    "exact_quantiles": ("exact_quantiles((0.1, 0.5, 0.9))", 1024),
    "six statistics": ("named(m=moments(), e=extrema(), f=firing())", 4096),
}


def resident(what: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    told = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", told, re.MULTILINE)[1]) * 1024


def measure(statistic: str, images: int) -> dict:
    """In this process, which has to be fresh."""
    import jax
    import numpy as np
    import sweep as workload

    import pwact
    from pwact.core.registry import resolve

    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((images, 32, 32, 3), np.float32)
    classes = 1000
    data = pwact.data.arrays(pixels, rng.integers(0, 200, images), num_classes=classes, name="noise")
    variables = workload.make_variables(jax.random.key(0))
    probe = pwact.probe(lambda v, x: workload.forward(v, x)[0], data.images[:2], variables=variables)
    asked = {
        "statistics": {"s": resolve(statistic, pwact.stats)},
        "sites": [name for name, site in probe.sites.items() if site.operation == "relu"],
    }
    before = resident("VmRSS")
    tree = pwact.sweep(probe, variables, data, **asked)
    growth = resident("VmHWM") - before
    plan = pwact.plan(probe, variables, data, **asked)
    return {
        "images": images,
        "groups": tree.attrs["groups"],
        "state_bytes": plan.state_bytes,
        "planned_bytes": plan.peak_bytes,
        "measured_bytes": growth,
        "planned_over_measured": round(plan.peak_bytes / growth, 3),
    }


def table(result: dict) -> str:
    rows = [
        "| case | images | state, MiB | planned peak, MiB | measured, MiB | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, case in result["cases"].items():
        sizes = (f"{case[key] / 2**20:,.0f}" for key in ("state_bytes", "planned_bytes", "measured_bytes"))
        rows.append(
            f"| {name} | {case['images']:,} | {' | '.join(sizes)} | {case['planned_over_measured']:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; repeat for more")
    parser.add_argument("--table", action="store_true", help="print the table from the last result")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]))))
        return
    import jax

    from pwact.core import backend, provenance

    path = RESULTS / f"memory-{jax.default_backend()}.json"
    if options.table:
        print(table(json.loads(path.read_text())))
        return
    cases = {}
    for name in options.case or CASES:
        statistic, images = CASES[name]
        command = [sys.executable, __file__, "--measure", statistic, str(images)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cases[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, cases[name], flush=True)
    result = {
        "claim": f"planned and measured peak memory agree within {TARGET:.0%}",
        "machine": provenance.machine(),
        "processor": backend.this_machine(),
        "cases": cases,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
