"""Whole datasets through accumulators that read them several times, and states of more than 2^32 images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pwact.core.accumulator import Accumulator
from pwact.types import Observation


def observe(x: np.ndarray, mask: np.ndarray | None = None) -> Observation:
    """All of x [image, ...] as one batch."""
    index = jnp.arange(len(x), dtype=jnp.int32)
    masks = None if mask is None else jnp.asarray(mask)
    return Observation(jnp.asarray(x), 0 * index, 0 * index, index, jnp.ones(len(x), bool), mask=masks)


def accumulate(
    acc: Accumulator, x: np.ndarray, batch: int, mask: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Results of x [image, ...] in batches of `batch`, each pass one compiled scan."""
    batches = jax.tree.map(lambda array: array.reshape(-1, batch, *array.shape[1:]), observe(x, mask))

    @jax.jit
    def run(state: Any, batches: Observation) -> Any:
        return jax.lax.scan(lambda state, one: (acc.update(state, one), None), state, batches)[0]

    state = acc.init(jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    for done in range(1, acc.passes + 1):
        state = run(state, batches)
        state = jax.jit(acc.advance)(state) if done < acc.passes else state
    return {name: np.asarray(value.values) for name, value in jax.jit(acc.finalize)(state).items()}


def repeated(acc: Accumulator, parts: list[tuple[np.ndarray, int]]) -> dict[str, np.ndarray]:
    """Results of a dataset that holds each x of `parts` 2 ** times times."""
    merge, update = jax.jit(acc.merge), jax.jit(acc.update)
    start = acc.init(jax.ShapeDtypeStruct(parts[0][0].shape[1:], jnp.float32))
    for done in range(1, acc.passes + 1):
        total = start
        for x, times in parts:
            state = update(start, observe(x))
            for _ in range(times):
                state = merge(state, state)
            total = merge(total, state)
        start = jax.jit(acc.advance)(total) if done < acc.passes else total
    return {name: np.asarray(value.values) for name, value in jax.jit(acc.finalize)(start).items()}
