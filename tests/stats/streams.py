"""Whole datasets through an accumulator, in one compiled scan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pwact.core.accumulator import Accumulator
from pwact.types import Observation


def accumulate(
    acc: Accumulator, x: Any, batch: int, label: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Results of all of x, float32 [image, ...] or a tuple of two, in batches of `batch`."""
    images = len(jax.tree.leaves(x)[0])
    index = np.arange(images, dtype=np.int32)
    label = index * 0 if label is None else label
    seen = Observation(x, label, label, index, np.ones(images, bool))
    batches = jax.tree.map(lambda array: jnp.asarray(array.reshape(-1, batch, *array.shape[1:])), seen)
    return {name: np.asarray(value.values) for name, value in program(acc)(batches).items()}


@functools.cache
def program(acc: Accumulator) -> Callable[[Observation], Any]:
    @jax.jit
    def run(batches: Observation) -> Any:
        def step(state: Any, one: Observation) -> tuple[Any, None]:
            return acc.update(state, one), None

        specs = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape[2:], array.dtype), batches.activation
        )
        return acc.finalize(jax.lax.scan(step, acc.init(specs), batches)[0])

    return run
