"""How many images to compute on at once: proposed from sizes, or tried on the first images."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import jax
import numpy as np

from pwact.core.backend import micro_batches
from pwact.core.memory import remembered
from pwact.core.sweep.loads import in_micro_batches
from pwact.core.sweep.program import compiled
from pwact.core.sweep.task import Task, shapes, task_key
from pwact.types import Batch

TRIES = 3
"""Timed runs of each candidate; the least counts, since whatever else runs only ever adds."""


def micro_batch(
    task: Task, variables: Any, load: Batch, batch_size: int, wish: int | Literal["fastest"] | None
) -> int:
    """How many images of each load to compute on at once.

    Args:
        task: what to compute.
        variables: the variables to compute it with.
        load: the first load of images.
        batch_size: images of a full load.
        wish: a number of images; None for the best guess; "fastest" for the best of a trial.
    """
    if isinstance(wish, int):
        return min(wish, batch_size)
    specs = shapes(task, variables, load).sites.values()
    sizes = [math.prod(spec.shape) * spec.dtype.itemsize for spec in specs]
    share = -(-batch_size // len(task.devices))
    candidates = micro_batches(sum(sizes), max(sizes), share)
    if wish is None:
        return candidates[0]

    def fastest() -> int:
        return min(candidates, key=lambda size: _seconds(task, size, variables, load, batch_size))

    return remembered(task.probe, ("fastest", batch_size, task_key(task, variables, load)), fastest)


def _seconds(task: Task, size: int, variables: Any, load: Batch, batch_size: int) -> float:
    program = compiled(task, size, variables, load, batch_size)
    batch = in_micro_batches(load, size, program.micro_batches)
    state, taken = program.init(), []
    for _ in range(TRIES):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(
            program.run(state, variables, batch, np.int32(program.micro_batches))
        )
        taken.append(time.perf_counter() - start)
    return min(taken)
