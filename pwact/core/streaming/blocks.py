"""Updating a few rows at a time, so that what is read stays in cache and reduces in registers."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from pwact.core.accumulator import State, per_image
from pwact.core.backend import rows_at_once
from pwact.types import Observation

Update = Callable[[State, Observation], State]


def in_blocks(update: Update) -> Update:
    """The same update, walking the batch in blocks of rows where the back end gains by it.

    update(...update(update(state, block_1), block_2)..., block_n)

    Blocks before the first valid row and after the last are left out: sorted by label, a batch costs
    `by_class` hardly more than it costs alone. For statistics of whole maps; those that sort or gather
    do better on whole batches.

    Args:
        update: of an accumulator.

    Returns:
        An update of the same accumulator.

    Example:
        >>> import jax.numpy as jnp
        >>> count = in_blocks(lambda state, seen: state + seen.valid.sum())
        >>> zero = jnp.zeros(3, jnp.int32)
        >>> seen = Observation(jnp.zeros((3, 2)), zero, zero, zero, jnp.array([True, True, False]))
        >>> int(count(0, seen))
        2
    """

    def blockwise(state: State, seen: Observation) -> State:
        images = len(seen.valid)
        row_bytes = seen.activation[0].size * seen.activation.dtype.itemsize
        rows = rows_at_once(images, row_bytes)
        if rows is None:
            return update(state, seen)
        number = jnp.arange(images // rows, dtype=jnp.int32)
        some = seen.valid.reshape(-1, rows).any(1)
        first, end = jnp.where(some, number, len(number)).min(), jnp.where(some, number + 1, 0).max()

        def one(block: jax.Array, state: State) -> State:
            part = jax.tree.map(lambda array: lax.dynamic_slice_in_dim(array, block * rows, rows, 0), seen)
            return update(state, part)

        return lax.fori_loop(first, end, one, state)

    return blockwise


def any_not_finite(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Whether any entry of the valid rows is NaN or infinite.

    Args:
        values: [batch, ...].
        valid: [batch].

    Returns:
        One bool.
    """

    def update(fault: jax.Array, seen: Observation) -> jax.Array:
        # x * 0 is NaN for these, and 0 for the others: one sum, which is cheaper than asking each.
        zeros = jnp.where(per_image(seen.valid, seen.activation), seen.activation * 0, 0)
        return fault | jnp.isnan(zeros.sum(0)).any()

    none = jnp.zeros(len(valid), jnp.int32)
    return in_blocks(update)(jnp.zeros((), bool), Observation(values, none, none, none, valid))
