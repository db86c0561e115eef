"""What do statistics of every point cost, beside the bare forward pass and beside naive ways?

    python benchmarks/sweep.py [--rounds 7]      measures and writes results/sweep-<backend>.json; 3 minutes
    python benchmarks/sweep.py --table           prints the table of the README from that file
    python benchmarks/sweep.py --variations      what single decisions are worth, for docs/performance.md

Workload W: 4,096 images 32x32x3; convolutions 3x3 with 32, 64 (stride 2), 64 and 128 (stride 2) channels,
each with a ReLU; mean over positions; a linear layer. Six statistics at every point of all four ReLU maps:
count, mean, variance, minimum and maximum (each with its dataset index) and firing rate.

- `bare forward`: logits only, images already on the device; the fastest of the candidates below;
- `pwact.sweep`: six statistics, from host arrays to a finished result with provenance;
- `pwact.sweep by class`: the same for each of 10 classes;
- `batched NumPy`: activations fetched to the host, where NumPy adds them up; the faster of two batch sizes;
- `image by image`: the same for one image at a time, on the first 256 images, scaled to all.

Each way's numbers are compared with float64 before anything is timed. All run in turn within each round, so
that a busy machine is busy for all of them; a ratio is the median over rounds of ratios within the round.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import pwact
from pwact.core import backend, provenance
from pwact.stats import by_class, extrema, firing, moments

RESULTS = pathlib.Path(__file__).parent / "results"
LAYERS = ((32, 1), (64, 2), (64, 1), (128, 2))  # channels, stride
CLASSES, IMAGES, ONE_BY_ONE = 10, 4096, 256
TARGETS = {"pwact.sweep": 1.4, "pwact.sweep by class": 2.0}  # of the bare forward pass
SIX = {"moments": moments(), "extrema": extrema(), "firing": firing()}
SIX_BY_CLASS = {name: by_class(acc, CLASSES) for name, acc in SIX.items()}


def make_variables(key: jax.Array) -> dict:
    keys = jax.random.split(key, len(LAYERS) + 1)
    kernels, before = [], 3
    for layer, (channels, _) in zip(keys, LAYERS, strict=False):
        scale = (2 / (9 * before)) ** 0.5
        kernels.append(
            {
                "kernel": scale * jax.random.normal(layer, (3, 3, before, channels)),
                "bias": jnp.zeros(channels),
            }
        )
        before = channels
    return {"conv": kernels, "head": jax.random.normal(keys[-1], (before, CLASSES)) / before**0.5}


def forward(variables: dict, image: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
    """Logits, and the ReLU maps by hand."""
    maps = []
    for layer, (_, stride) in zip(variables["conv"], LAYERS, strict=True):
        image = lax.conv_general_dilated(
            image, layer["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        image = jax.nn.relu(image + layer["bias"][None, None, None])
        maps.append(image)
    return image.mean((1, 2)) @ variables["head"], maps


def bare_candidates(variables: dict, images: np.ndarray) -> dict[str, Callable[[], None]]:
    """Forward passes over all images, logits only: batch sizes, compile options, one program or many."""
    ways = {}
    for size in (16, 32, 64, 128, 256, 1024):
        batches = [jnp.asarray(part) for part in np.split(images, len(images) // size)]
        for name, options in (("default", {}), ("sweep's options", backend.compiler_options())):
            one = jax.jit(lambda v, x: forward(v, x)[0], compiler_options=options)

            def many_calls(one=one, batches=batches) -> None:
                jax.block_until_ready([one(variables, batch) for batch in batches])

            ways[f"batch {size}, {name}"] = many_calls
    for size in (16, 64):
        stacked = jnp.asarray(images.reshape(-1, size, *images.shape[1:]))
        scanned = jax.jit(
            lambda v, xs: lax.map(lambda x: forward(v, x)[0], xs), compiler_options=backend.compiler_options()
        )
        ways[f"scan over batches of {size}"] = lambda f=scanned, xs=stacked: jax.block_until_ready(
            f(variables, xs)
        )
    return ways


class OnTheHost:
    """Six statistics added up by NumPy, batch by batch, as one would write it by hand."""

    def __init__(self) -> None:
        self.count = 0
        self.maps: list[dict[str, np.ndarray]] = []

    def add(self, activations: list[np.ndarray], first: int) -> None:
        if not self.maps:
            for a in activations:
                zero, nowhere = np.zeros(a.shape[1:], np.float32), np.zeros(a.shape[1:], np.int32)
                self.maps.append({"mean": zero.copy(), "squares": zero.copy(), "fired": nowhere.copy()})
                self.maps[-1] |= {
                    "min": zero + np.inf,
                    "max": zero - np.inf,
                    "at": nowhere.copy(),
                    "to": nowhere.copy(),
                }
        for m, a in zip(self.maps, activations, strict=True):
            n = self.count + len(a)
            mean = a.mean(0)
            delta = mean - m["mean"]
            m["squares"] += ((a - mean) ** 2).sum(0) + delta**2 * (self.count * len(a) / n)
            m["mean"] += delta * (len(a) / n)
            m["fired"] += (a > 0).sum(0, dtype=np.int32)
            for name, index, pick, better in (
                ("min", "at", a.argmin, np.less),
                ("max", "to", a.argmax, np.greater),
            ):
                where = pick(0)
                value = np.take_along_axis(a, where[None], 0)[0]
                new = better(value, m[name])
                m[name] = np.where(new, value, m[name])
                m[index] = np.where(new, first + where, m[index])
        self.count += len(activations[0])


def naive(variables: dict, images: np.ndarray, size: int) -> Callable[[], OnTheHost]:
    look = jax.jit(lambda v, x: forward(v, x)[1])

    def run() -> OnTheHost:
        host = OnTheHost()
        for start in range(0, len(images), size):
            host.add([np.asarray(a) for a in look(variables, images[start : start + size])], start)
        return host

    return run


def exact_maps(variables: dict, images: np.ndarray, number: int) -> np.ndarray:
    look = jax.jit(lambda v, x: forward(v, x)[1][number])
    return np.concatenate([np.asarray(look(variables, part)) for part in np.split(images, 16)])


def check(
    variables: dict, images: np.ndarray, label: np.ndarray, sweep, classes, host: OnTheHost
) -> dict[str, float]:
    """The largest difference of each way from float64, in units of the site's largest activation."""
    worst = dict.fromkeys(("pwact.sweep", "pwact.sweep by class", "NumPy"), 0.0)
    for number, site in enumerate(sweep.children):
        x, ours, by_numpy = exact_maps(variables, images, number), sweep[site], host.maps[number]
        mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        pairs = [
            ("pwact.sweep", ours["moments.mean"], mean),
            ("pwact.sweep", ours["moments.variance"] ** 0.5, std),
            ("pwact.sweep", ours["extrema.min"], x.min(0)),
            ("pwact.sweep", ours["extrema.max"], x.max(0)),
            ("NumPy", by_numpy["mean"], mean),
            ("NumPy", (by_numpy["squares"] / IMAGES) ** 0.5, std),
            ("NumPy", by_numpy["min"], x.min(0)),
            ("NumPy", by_numpy["max"], x.max(0)),
        ]
        for c in range(CLASSES):
            own, node = x[label == c], classes[site]
            pairs += [
                ("pwact.sweep by class", node["moments.mean"][c], own.mean(0, dtype=np.float64)),
                ("pwact.sweep by class", node["extrema.max"][c], own.max(0)),
            ]
        for way, found, wanted in pairs:
            worst[way] = max(
                worst[way], float(np.abs(np.asarray(found, np.float64) - wanted).max() / x.max())
            )
        # Two programs may round a value at the threshold to either side of it: a few images at a point.
        fired = (x > 0).sum(0)
        for found in (ours["firing.share"] * IMAGES, by_numpy["fired"]):
            assert np.abs(np.asarray(found) - fired).max() < 4
        assert int(ours["moments.count"]) == IMAGES
        assert classes[site]["moments.count"].values.tolist() == np.bincount(label).tolist()
    assert max(worst.values()) < 1e-5, worst
    return {way: float(f"{difference:.1e}") for way, difference in worst.items()}


def seconds_of(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def fastest(seconds: dict[str, list[float]], group: str) -> str:
    members = [name for name in seconds if name.startswith(group)]
    return min(members, key=lambda name: statistics.median(seconds[name]))


def workload() -> tuple[dict, np.ndarray, np.ndarray, Any]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(IMAGES, 32, 32, 3)).astype(np.float32)
    label = rng.integers(0, CLASSES, IMAGES).astype(np.int32)
    data = pwact.data.arrays(images, label, num_classes=CLASSES, name="noise")
    return make_variables(jax.random.key(0)), images, label, data


def sweeper(variables: dict, data: Any, accs: dict, **kwargs) -> Callable[[], Any]:
    """A sweep of all ReLU maps through a probe of its own, so that it compiles its own program."""
    probe = pwact.probe(lambda v, x: forward(v, x)[0], data.images[:2], variables=variables)
    sites = [name for name, site in probe.sites.items() if site.operation == "relu"]
    return lambda: pwact.sweep(probe, variables, data, accs, sites=sites, **kwargs)


def in_turn(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; each round starts with another one."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(seconds_of(ways[name]))
    return seconds


def measure(rounds: int) -> dict:
    variables, images, label, data = workload()
    bare = bare_candidates(variables, images)
    trial = {name: [seconds_of(run) for _ in range(4)][1:] for name, run in bare.items()}
    quick = sorted(trial, key=lambda name: min(trial[name]))[:3]
    ways: dict[str, Callable[[], Any]] = {f"bare forward, {name}": bare[name] for name in quick}
    ways["pwact.sweep"] = sweeper(variables, data, SIX)
    ways["pwact.sweep by class"] = sweeper(variables, data, SIX_BY_CLASS)
    ways |= {f"batched NumPy, batch {size}": naive(variables, images, size) for size in (64, 256)}
    ways["image by image"] = naive(variables, images[:ONE_BY_ONE], 1)

    started = time.perf_counter()
    sweep = ways["pwact.sweep"]()
    first_call = time.perf_counter() - started
    differences = check(
        variables, images, label, sweep, ways["pwact.sweep by class"](), ways["batched NumPy, batch 64"]()
    )
    seconds = in_turn(ways, rounds)
    seconds["image by image"] = [value * IMAGES / ONE_BY_ONE for value in seconds["image by image"]]
    forward_pass, on_the_host = fastest(seconds, "bare forward"), fastest(seconds, "batched NumPy")
    shown = (forward_pass, "pwact.sweep", "pwact.sweep by class", on_the_host, "image by image")
    return {
        "images": IMAGES,
        "points": sum(int(node["moments.mean"].size) for node in sweep.leaves),
        "rounds": rounds,
        "batch_size": sweep.attrs["batch_size"],
        "micro_batch": sweep.attrs["micro_batch"],
        "first_call_seconds": round(first_call, 2),
        "largest_difference_from_float64": differences,
        "median_seconds": {name: round(statistics.median(seconds[name]), 4) for name in shown},
        "ratio_to_bare_forward": {
            name: round(ratio(seconds[name], seconds[forward_pass]), 3) for name in shown
        },
        "faster_than_batched_numpy": round(ratio(seconds[on_the_host], seconds["pwact.sweep"]), 2),
        "faster_than_image_by_image": round(ratio(seconds["image by image"], seconds["pwact.sweep"]), 2),
        "all_seconds": {name: [round(value, 4) for value in times] for name, times in seconds.items()},
    }


def variations(rounds: int) -> dict:
    """The same sweep with one decision of `pwact.core.backend` taken otherwise."""
    variables, images, _, data = workload()
    bare = bare_candidates(variables, images)
    ways = {name: bare[name] for name in ("batch 16, default", "batch 256, default")}
    ways |= {
        f"micro-batch {size}": sweeper(variables, data, SIX, micro_batch=size) for size in (4, 8, 16, 32, 64)
    }
    ways["by class"] = sweeper(variables, data, SIX_BY_CLASS)
    label = np.random.default_rng(1).integers(0, 100, IMAGES)
    hundred = pwact.data.arrays(images, label, num_classes=100, name="noise")
    in_order = pwact.data.arrays(images, np.sort(label), num_classes=100, name="noise")
    each = {name: by_class(acc, 100) for name, acc in SIX.items()}
    ways["by class, 100 classes"] = sweeper(variables, hundred, each)
    ways["by class, 100 classes, loads of 2,048"] = sweeper(variables, hundred, each, batch_size=2048)
    ways["by class, 100 classes, dataset in order of class"] = sweeper(variables, in_order, each)
    otherwise = {
        "without the compile option": ("CPU_OPTIONS", {}),
        "statistics on whole micro-batches": ("SMALL_ROW_BYTES", 1 << 60),
    }
    for name, (constant, value) in otherwise.items():
        usual = getattr(backend, constant)
        setattr(backend, constant, value)
        backend._known.cache_clear()
        for size in (16, 32):
            ways[f"{name}, micro-batch {size}"] = sweeper(variables, data, SIX, micro_batch=size)
            ways[f"{name}, micro-batch {size}"]()
        setattr(backend, constant, usual)
        backend._known.cache_clear()
    for run in ways.values():
        run()
    seconds = in_turn(ways, rounds)
    fast = min(("batch 16, default", "batch 256, default"), key=lambda name: statistics.median(seconds[name]))
    return {
        "rounds": rounds,
        "ratio_to_bare_forward": {name: round(ratio(seconds[name], seconds[fast]), 3) for name in ways},
        "all_seconds": {name: [round(value, 4) for value in times] for name, times in seconds.items()},
    }


def ratio(one: list[float], other: list[float]) -> float:
    """Median over rounds of the ratio within the round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(result: dict) -> str:
    """The README's table, in Markdown."""
    measured, machine = result["measured"], result["machine"]
    rows = ["| way | seconds | of the bare forward pass |", "|---|---|---|"]
    for name, seconds in measured["median_seconds"].items():
        label = {
            "pwact.sweep": "**`pwact.sweep`**",
            "pwact.sweep by class": "**the same for each of 10 classes**",
        }
        ways = {"image by image": "one image at a time, NumPy adds up"}
        shown = (
            label.get(name)
            or ways.get(name)
            or name.replace("batched NumPy, batch", "NumPy adds up, batches of")
        )
        rows.append(f"| {shown} | {seconds:.2f} | {measured['ratio_to_bare_forward'][name]:.2f} |")
    ratios = measured["ratio_to_bare_forward"]
    targets = "; ".join(
        f"{name} at most {most:.2f}, {'met' if ratios[name] <= most else 'missed'} with {ratios[name]:.3f}"
        for name, most in TARGETS.items()
    )
    how = (
        f"Count, mean, variance, extrema with their images and firing rate at {measured['points']:,} points"
        f" of four maps, {measured['images']:,} images; medians of {measured['rounds']} rounds on"
        f" {result['cores']} cores ({result['processor']}), {machine['created'][:10]}:"
        " `python benchmarks/sweep.py`."
    )
    return "\n".join([*rows, "", f"Targets: {targets}.", "", how])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--table", action="store_true", help="print the README's table from the last result")
    parser.add_argument("--variations", action="store_true", help="what single decisions are worth")
    options = parser.parse_args()
    kind = "sweep-variations" if options.variations else "sweep"
    path = RESULTS / f"{kind}-{jax.default_backend()}.json"
    if options.table:
        print(table(json.loads(path.read_text())))
        return
    result = {
        "claim": f"six statistics at all sites, of the fastest bare forward pass, at most: {TARGETS}",
        "cores": backend.cores(),
        "processor": processor(),
        "load_before": round(os.getloadavg()[0], 2),
        "machine": provenance.machine(),
        "measured": variations(options.rounds) if options.variations else measure(options.rounds),
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(
        json.dumps(result["measured"]["ratio_to_bare_forward"], indent=1)
        if options.variations
        else table(result)
    )


if __name__ == "__main__":
    main()
