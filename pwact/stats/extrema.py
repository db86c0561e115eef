"""The least and the largest value at every point, and the images that gave them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from pwact.core.accumulator import NO_INDEX, Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
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
        x = seen.activation.astype(state.min.dtype)
        valid, index = per_image(seen.valid, x), per_image(seen.index.astype(jnp.int32), x)
        low = jnp.where(valid, x, jnp.inf).min(0)
        high = jnp.where(valid, x, -jnp.inf).max(0)
        low_index = jnp.where(valid & (x == low[None]), index, NO_INDEX).min(0)
        high_index = jnp.where(valid & (x == high[None]), index, NO_INDEX).min(0)
        return merge(state, ExtremaState(low, low_index, high, high_index))

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

    return Accumulator(init, in_blocks(update), merge, finalize, channelwise=True)


def _index(better: Array, tie: Array, left: Array, right: Array) -> Array:
    return jnp.where(better, right, jnp.where(tie, jnp.minimum(left, right), left))
