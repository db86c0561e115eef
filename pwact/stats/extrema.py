"""The least and the largest value at every point, and the images that gave them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from pwact.core.accumulator import NO_INDEX, Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.conditional import only_if
from pwact.types import Observation


class ExtremaState(NamedTuple):
    """At every point the values so far and the dataset index of each; `NO_INDEX` for none."""

    min: Float[Array, "*dims"]
    min_index: Int32[Array, "*dims"]
    max: Float[Array, "*dims"]
    max_index: Int32[Array, "*dims"]


@memoized
def extrema() -> Accumulator:
    """Minimum and maximum over images at every point, and where in the dataset they are.

    max = max_i x_i,   max_index = min {index_i : x_i = max};   likewise min

    Among equals the smallest dataset index wins, so order and grouping change nothing. No number is rounded.
    `top_k(1)` and `bottom_k(1)` give the same of each channel, with the row and column that it came from.

    Returns:
        An accumulator with results `min`, `max` (activation's own unit) and `min_index`, `max_index`
        (int32, dataset index). Nothing seen: NaN and index -1.

    Raises:
        PwactError: (by `init`) the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import extrema
        >>> from pwact.types import Observation
        >>> acc = extrema()
        >>> x, zero = jnp.array([[2.0], [5.0], [5.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> seen = Observation(x, zero, zero, jnp.array([7, 9, 8]), jnp.ones(3, bool))
        >>> result = acc.finalize(acc.update(state, seen))
        >>> result["max"].values.tolist(), result["max_index"].values.tolist()
        ([5.0], [8])

    Source: ours; a plain order statistic.
    """

    def init(spec: jax.ShapeDtypeStruct) -> ExtremaState:
        nowhere = jnp.full(spec.shape, NO_INDEX, jnp.int32)
        highest = jnp.full(spec.shape, jnp.inf, float_dtype(spec))
        return ExtremaState(highest, nowhere, -highest, nowhere)

    def update(state: ExtremaState, seen: Observation) -> ExtremaState:
        def values(found: tuple[Array, Array], block: Observation) -> tuple[Array, Array]:
            x = block.activation.astype(state.min.dtype)
            valid, (low, high) = per_image(block.valid, x), found
            low = jnp.minimum(low, jnp.where(valid, x, jnp.inf).min(0))
            return low, jnp.maximum(high, jnp.where(valid, x, -jnp.inf).max(0))

        def add_batch(state: ExtremaState) -> ExtremaState:
            highest = jnp.full_like(state.max, jnp.inf)
            low, high = in_blocks(values)((highest, -highest), seen)

            def indices(found: tuple[Array, Array], block: Observation) -> tuple[Array, Array]:
                x = block.activation.astype(state.min.dtype)
                own = per_image(jnp.where(block.valid, block.index.astype(jnp.int32), NO_INDEX), x)
                first, second = (jnp.where(x == value[None], own, NO_INDEX).min(0) for value in (low, high))
                return jnp.minimum(found[0], first), jnp.minimum(found[1], second)

            nowhere = jnp.full_like(state.min_index, NO_INDEX)
            low_index, high_index = in_blocks(indices)((nowhere, nowhere), seen)
            return merge(state, ExtremaState(low, low_index, high, high_index))

        return only_if(seen.valid.any(), add_batch, state)

    def merge(left: ExtremaState, right: ExtremaState) -> ExtremaState:
        lower, low_tie = right.min < left.min, right.min == left.min
        higher, high_tie = right.max > left.max, right.max == left.max
        return ExtremaState(
            jnp.where(lower, right.min, left.min),
            _index(lower, low_tie, left.min_index, right.min_index),
            jnp.where(higher, right.max, left.max),
            _index(higher, high_tie, left.max_index, right.max_index),
        )

    def finalize(state: ExtremaState) -> Result:
        dims = point_dims(state.min.ndim)
        some = state.min_index != NO_INDEX
        return {
            "min": Named(jnp.where(some, state.min, jnp.nan), dims),
            "min_index": Named(jnp.where(some, state.min_index, -1), dims),
            "max": Named(jnp.where(some, state.max, jnp.nan), dims),
            "max_index": Named(jnp.where(some, state.max_index, -1), dims),
        }

    return Accumulator(init, update, merge, finalize, channelwise=True)


def _index(better: Array, tie: Array, left: Array, right: Array) -> Array:
    return jnp.where(better, right, jnp.where(tie, jnp.minimum(left, right), left))
