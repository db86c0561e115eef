"""How unequally the images activate a point."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.tally import Tally
from pwact.types import Observation

OCTAVES, PARTS = 16, 4
BINS = OCTAVES * PARTS
"""Below the largest value, each octave in equal parts; one more for all that is smaller but not 0."""

FINE = 16
"""Binary places to which a value is known within its bin."""
AT_ONCE = 2**14
"""Rows whose places within a bin add up to less than 2**31."""


class LifetimeGiniState(NamedTuple):
    """In the first pass `largest` |x| is found; then the sizes and places of values within bins below it."""

    images: Counter
    counting: Bool[Array, ""]
    largest: Float[Array, "*dims"]
    counts: Tally
    places: Tally


@memoized
def lifetime_gini() -> Accumulator:
    """Gini index of every point over images: 0 if all are alike, 1 - 1 / n if one is alone; within a bound.

    gini = sum_ij |a_i - a_j| / (2 n^2 mean(a)),   a_i = |x_i|

    The exact index needs all values in order. Two passes give an interval that holds it: the first finds
    the largest a of each point; the second counts the values in 64 bins, 4 an octave, from there down, and
    adds up where in their bin they lie. With share p_j, mean m_j and edges l_j, h_j of bin j, the index is
    at least that of values that all equal the mean of their bin, and at most that plus

        2 E = sum_j p_j^2 (h_j - m_j) (m_j - l_j) / ((h_j - l_j) m),   m = mean(a)

    `gini` is the middle. Values that are not 0 but 16 octaves or more below the largest, of share p, are
    taken as half the lowest edge l, which is at most p l / m wrong. `gini_error` is E + p l / m: about 1e-3
    where values spread over octaves, 0.03 where all lie in one bin, and more only where most values are not 0
    and yet below a ten-thousandth of the largest. Counts and sums are whole
    numbers, of values cut to 2^-18 of themselves; with the rounding of `finalize` that adds at most 2e-5.

    The state takes 1 KiB a point. On a CPU the second pass costs 15 to 20 times an update of `moments`.
    `per_channel(lifetime_gini())` takes all points of a channel as its samples, with 1 KiB a channel.

    Returns:
        An accumulator of two passes with results `count` (int64, images), `gini` (0 to 1) and `gini_error`,
        how far at most it is from the index itself. Nothing seen, or a point that is 0 for every image: NaN.
        Activations below 1.2e-38, which hardware takes for 0, are 0.

    Raises:
        PwactError: (by `init`) the activation is not of floating-point numbers, or a state of 2^31 counts or
            more.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import lifetime_gini
        >>> from pwact.types import Observation
        >>> acc = lifetime_gini()
        >>> x, zero = jnp.array([[0.0], [0.0], [0.0], [2.0]]), jnp.zeros(4, jnp.int32)
        >>> seen = Observation(x, zero, zero, jnp.arange(4), jnp.ones(4, bool))
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> result = acc.finalize(acc.update(acc.advance(state), seen))
        >>> round(float(result["gini"].values[0]), 4)
        0.75

    Reference: the measure as in Hurley and Rickard, "Comparing measures of sparsity", IEEE Transactions on
        Information Theory 55 (2009); the bounds from grouped values after Gastwirth, "The estimation of the
        Lorenz curve and Gini index", Review of Economics and Statistics 54 (1972). Reconstructed.
    """

    def init(spec: jax.ShapeDtypeStruct) -> LifetimeGiniState:
        float_dtype(spec)
        tally = Tally.zeros((BINS + 1, *spec.shape))
        largest = jnp.zeros(spec.shape, jnp.float32)
        return LifetimeGiniState(Counter.zeros(), jnp.zeros((), bool), largest, tally, tally)

    def find(state: LifetimeGiniState, size: Array, valid: Array) -> LifetimeGiniState:
        largest = jnp.where(per_image(valid, size), size, 0).max(0)
        return state._replace(largest=jnp.maximum(state.largest, largest))

    def count(state: LifetimeGiniState, size: Array, valid: Array) -> LifetimeGiniState:
        rows = max(rows for rows in range(1, AT_ONCE + 1) if len(size) % rows == 0)
        point = jnp.arange(math.prod(size.shape[1:]), dtype=jnp.int32)[None]
        top = _bits(state.largest).reshape(1, -1) >> 21

        def some(number: Array, tallies: tuple[Tally, Tally]) -> tuple[Tally, Tally]:
            own, real = (
                lax.dynamic_slice_in_dim(array, number * rows, rows, 0).reshape(rows, -1)
                for array in (size, valid)
            )
            bits = _bits(own)
            counted = real & (bits >= 1 << 23)
            bin = jnp.where(counted, jnp.clip(top - (bits >> 21), 0, BINS), 0)
            place = jnp.where(counted, (bits & (2**21 - 1)) >> (21 - FINE), 0).astype(jnp.uint32)
            most = real[:, 0].sum(dtype=jnp.uint32)
            slot = (bin * point.shape[1] + point).reshape(-1)
            return (
                tallies[0].add_at(slot, counted.reshape(-1).astype(jnp.uint32), most),
                tallies[1].add_at(slot, place.reshape(-1), most * jnp.uint32(2**FINE - 1)),
            )

        counts, places = lax.fori_loop(0, len(size) // rows, some, (state.counts, state.places))
        return state._replace(counts=counts, places=places)

    def update(state: LifetimeGiniState, seen: Observation) -> LifetimeGiniState:
        size = jnp.abs(seen.activation).astype(jnp.float32)
        state = state._replace(images=state.images.add(seen.valid.sum(dtype=jnp.uint32)))
        counting = state.counting
        state = only_if(counting, lambda state: count(state, size, seen.valid), state)
        return only_if(~counting, lambda state: find(state, size, seen.valid), state)

    def merge(left: LifetimeGiniState, right: LifetimeGiniState) -> LifetimeGiniState:
        return LifetimeGiniState(
            left.images.merge(right.images),
            left.counting | right.counting,
            jnp.maximum(left.largest, right.largest),
            left.counts.merge(right.counts),
            left.places.merge(right.places),
        )

    def advance(state: LifetimeGiniState) -> LifetimeGiniState:
        return state._replace(images=Counter.zeros(), counting=jnp.ones((), bool))

    def finalize(state: LifetimeGiniState) -> Result:
        n, dims = state.images.to_float(), point_dims(state.largest.ndim)
        counts, places = (tally.counter().to_float() for tally in (state.counts, state.places))
        low, width = _edges(state.largest)
        place = ((places / jnp.maximum(counts, 1))[:-1] + 0.5) / 2**FINE
        mean = jnp.concatenate([low + place * width, low[-1:] / 2])
        share = counts / jnp.maximum(n, 1)
        total = (share * mean).sum(0)
        total = jnp.where(total > 0, total, jnp.nan)
        above = jnp.cumsum(share, 0) - share
        between = (share * mean * (1 - 2 * above - share)).sum(0) / total
        error = (share[:-1] ** 2 * place * (1 - place) * width).sum(0) / total / 2
        return {
            "count": Named(state.images, ()),
            "gini": Named(between + error, dims),
            "gini_error": Named(error + share[-1] * low[-1] / total, dims),
        }

    return Accumulator(init, update, merge, finalize, advance, passes=2, channelwise=True)


def _bits(size: Array) -> Array:
    return lax.bitcast_convert_type(size, jnp.int32)


def _edges(largest: Float[Array, "*dims"]) -> tuple[Array, Array]:
    """Lower edges and widths of the bins, [bin, ...], in units of the largest value's octave."""
    part = (_bits(largest) >> 21) & (PARTS - 1)
    number = part[None] - jnp.arange(BINS, dtype=jnp.int32).reshape(-1, *(1,) * part.ndim)
    octave = lax.bitcast_convert_type(((number >> 2) + 127) << 23, jnp.float32)
    return octave * (1 + (number & (PARTS - 1)) / PARTS), octave / PARTS
