"""Do ten seeds in one call cost more than ten separate runs?

    python benchmarks/seeds.py [--seeds 10] [--rounds 5]

Four ways to train one epoch of every seed, after compilation, in turn within each round so that a busy
machine is busy for all of them; medians over rounds and their ratio to the separate loops. Where other
processes take the cores (`load_before`, processes a core) the ratios come closer together.

- `one call`: what `pwact.train.train` does (`pwact.core.backend.seed_plan`);
- `separate calls`: the same call once for each seed;
- `separate loops`: for each seed a Python loop over a jitted step with XLA's own convolutions, the usual way
  to write it;
- `one vmapped program`: all seeds side by side in one program.

Writes benchmarks/results/seeds-<backend>.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from pwact.core import backend, provenance
from pwact.data import Dataset, Preprocess, digits, mnist5k, split
from pwact.models import build, quick
from pwact.train import QUICK, program, train
from pwact.train.company import Company
from pwact.train.recipe import NUMBERS
from pwact.train.treatment import stream_keys

RESULTS = pathlib.Path(__file__).parent / "results"


def ways(data: Dataset, seeds: range) -> dict[str, Callable[[], None]]:
    """Each way to train one epoch of every seed, compiled and ready."""
    config = quick(data.image_shape, data.num_classes)
    networks = train(config, data, seeds=seeds, treatment="untrained")
    company = Company(networks, data, devices=1, resident=True)
    lonely = [
        Company(train(config, data, seeds=[seed], treatment="untrained"), data, devices=1, resident=True)
        for seed in seeds
    ]
    steps = company.task.steps
    together = {"carry": company.init()}
    apart = [one.init() for one in lonely]

    def one_call() -> None:
        together["carry"], _ = company.steps(together["carry"], 0, 0, steps)

    def separate_calls() -> None:
        for place, one in enumerate(lonely):
            apart[place], _ = one.steps(apart[place], 0, 0, steps)

    side_by_side = backend.SeedPlan(len(seeds), 1, scan=True, convolution="slices")
    task = dataclasses.replace(company.task, plan=side_by_side)
    keys = program.Keys.of(networks.members)
    numbers = jax.tree.map(jnp.asarray, program.numbers_of(QUICK, networks.members))
    labels = jnp.tile(jnp.asarray(data.labels), (len(seeds), 1))
    places = program.ordering(task)(keys.order, labels, jnp.int32(0))
    run = program.stepping(task)
    vmapped = {"carry": program.first(task)(stream_keys(networks.members, "initialisation"), numbers)}

    def one_vmapped_program() -> None:
        start = (vmapped["carry"], numbers, keys, labels, places)
        vmapped["carry"], _ = run(*start, 0, 0, steps, company.pixels)

    pixels, own_labels = company.pixels, jnp.asarray(data.labels)
    step, start = plain_step(data, networks.preprocess)
    states = [start(seed) for seed in seeds]
    batch = QUICK.batch_size
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(len(data)), (len(seeds), 1)), axis=1)

    def separate_loops() -> None:
        for place in range(len(seeds)):
            state = states[place]
            for t in range(len(data) // batch):
                state = step(*state, pixels, own_labels, orders[place, t * batch : t * batch + batch])
            states[place] = jax.block_until_ready(state)

    return {
        "one call": one_call,
        "separate calls": separate_calls,
        "separate loops": separate_loops,
        "one vmapped program": one_vmapped_program,
    }


def plain_step(data: Dataset, preprocess: Preprocess) -> tuple[Callable, Callable]:
    """A jitted training step with XLA's convolutions, and the state that it starts from."""
    config = quick(data.image_shape, data.num_classes)
    optimizer = QUICK.transformation({name: getattr(QUICK, name) for name in NUMBERS}, len(data))
    graph = nnx.graphdef(build(config, 0))

    def start(seed: int) -> tuple:
        _, params, rest = nnx.split(build(config, seed), nnx.Param, ...)
        return params, rest, optimizer.init(params)

    def step(params, rest, state, pixels, labels, at):
        def loss(params):
            model = nnx.merge(graph, params, rest, copy=True)
            logits = model(preprocess(pixels[at]))
            surprise = optax.softmax_cross_entropy_with_integer_labels(logits, labels[at])
            return surprise.mean(), nnx.split(model, nnx.Param, ...)[2]

        slope, new = jax.grad(loss, has_aux=True)(params)
        change, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, change), new, state

    return jax.jit(step, donate_argnums=(0, 1, 2)), start


def measure(data: Dataset, seeds: range, rounds: int) -> dict:
    """Medians and ratios of all ways on one training set."""
    candidates = ways(data, seeds)
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name in sorted(candidates, key=lambda name: hash((name, number))):
            started = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - started)
    reference = seconds["separate loops"]
    return {
        "data": data.name,
        "image_shape": data.image_shape,
        "images": len(data),
        "median_seconds": {name: round(statistics.median(times), 4) for name, times in seconds.items()},
        "ratio_to_separate_loops": {
            name: round(statistics.median(a / b for a, b in zip(times, reference, strict=True)), 3)
            for name, times in seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seeds = range(options.seeds)
    busy = os.getloadavg()[0] / backend.cores()
    measured = [
        measure(split(dataset, seed=0)["train"], seeds, options.rounds) for dataset in (mnist5k(), digits())
    ]
    result = {
        "claim": "10 seeds in one call cost at most 1.0 of 10 separate loops",
        "seeds": options.seeds,
        "rounds": options.rounds,
        "recipe": QUICK.to_dict(),
        "plan": backend.seed_plan(options.seeds)._asdict(),
        "cores": backend.cores(),
        "machine": {name: text for name, text in provenance.machine().items() if name != "platform"},
        "processor": platform.machine(),
        "load_before": round(busy, 2),
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"seeds-{jax.default_backend()}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for one in measured:
        print(f"{one['data']} {one['image_shape']}, {options.seeds} seeds, one epoch:")
        for name, seconds in one["median_seconds"].items():
            print(
                f"  {name:22}{seconds:8.3f} s   {one['ratio_to_separate_loops'][name]:.2f} of separate loops"
            )


if __name__ == "__main__":
    main()
