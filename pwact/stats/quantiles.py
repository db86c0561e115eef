"""Quantiles in one pass, to a relative error that is given: counts in buckets of equal relative width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32, UInt32

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.ranks import locate, quantile_numbers, ranks
from pwact.core.streaming.tally import Tally
from pwact.errors import PwactError
from pwact.types import Observation

OCTAVES = 12
"""Powers of 2, down from that of a channel's largest magnitude, within which magnitudes are told apart."""

_BIAS, _FRACTION = 127, 23
"""Of the exponent of a float32, and the bits of its fraction."""


class QuantilesState(NamedTuple):
    """`top`: the biased exponent of each channel's largest magnitude so far, 0 for none. `counts`: in
    buckets of ascending values, those of 0 and nearly 0 in the middle."""

    images: Counter
    top: Int32[Array, "*channel"]
    counts: Tally


def quantiles(q: float | Sequence[float] = (0.25, 0.5, 0.75), *, relative_error: float = 0.01) -> Accumulator:
    """Quantiles over images at every point from one pass, to a proven error.

    value_q = v(bucket of x_(k)),   k = floor(q (n - 1)),   x_(0) <= ... <= x_(n-1) the sorted values

    Each power of 2 is cut into S = ceil((1 / e - 1) / 2) buckets of equal width, e the relative error, for
    both signs, in the 12 powers of 2 that end with the largest magnitude M of the point's channel; smaller
    magnitudes share one bucket, whose v is 0. For a bucket [a, b] of magnitudes v = 2 a b / (a + b).

    Bound: |value_q - x_(k)| <= e |x_(k)|, but where |x_(k)| < floor, which is at most M / 2^11, value_q is 0.
    Proof: x_(k) lies in the bucket at which the counts first exceed k, since buckets are in ascending order
    and counts are exact. |v - x| / x is largest at x = a and x = b, where it is
    (b - a) / (a + b) <= 1 / (2 S + 1) <= e, as b - a = 2^p / S and a >= 2^p. To this float32 adds 2^-22.

    Which bucket a value falls in is read off its bits, and buckets that leave the 12 powers of 2 when M
    grows join the one of 0, where their values would have gone had M been known: so the state follows from
    the data alone, and no order of updates or merges changes a bit. `exact_quantiles` has no error and
    takes several passes.

    The state takes 8 (24 S + 1) bytes a point: 9.4 KiB at 1 %, 2.0 KiB at 5 %. Many points are better
    served by `per_channel(quantiles(...))`, which needs that a channel only.

    Args:
        q: one or more, each from 0 to 1; 0.3 is taken as 3 / 10, not as the float below it.
        relative_error: e, from 0.001 up to below 1.

    Returns:
        An accumulator with results `value` [quantile, ...] (activation's own unit), `q` [quantile] and
        `floor` [channel] (magnitudes below it count as 0). Nothing seen: NaN.

    Raises:
        PwactError: a q that is not from 0 to 1, a relative error outside its range; (by `init`) the
            activation is not of floating-point numbers of 32 bits or less, or the state has more than
            2^31 counts.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import quantiles
        >>> from pwact.types import Observation
        >>> acc = quantiles(0.5, relative_error=0.01)
        >>> x, zero = jnp.arange(1.0, 102.0)[:, None], jnp.zeros(101, jnp.int32)
        >>> seen = Observation(x, zero, zero, jnp.arange(101), jnp.ones(101, bool))
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> 50.5 < acc.finalize(state)["value"].values.item() < 51.5
        True

    Reference: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
        guarantees", PVLDB 12 (2019), with buckets read off the bits of the float. Reconstructed.
    """
    error = finite_number("relative_error", relative_error, "write 0.01 for one per cent")
    if not 0.001 <= error < 1:
        raise PwactError(
            "relative_error from 0.001 up to below 1", repr(relative_error), "use exact_quantiles for less"
        )
    return _quantiles(quantile_numbers(q), max(math.ceil((1 / error - 1) / 2), 1))


@memoized
def _quantiles(q: tuple[float, ...], cuts: int) -> Accumulator:
    half = OCTAVES * cuts

    def init(spec: jax.ShapeDtypeStruct) -> QuantilesState:
        if float_dtype(spec) != jnp.float32:
            raise PwactError("floats of 32 bits or less", f"dtype {spec.dtype}", "convert with on()")
        counts = Tally.zeros((2 * half + 1, *spec.shape))
        return QuantilesState(Counter.zeros(), jnp.zeros(spec.shape[-1:], jnp.int32), counts)

    def update(state: QuantilesState, seen: Observation) -> QuantilesState:
        x = seen.activation.astype(jnp.float32)
        own = lax.bitcast_convert_type(jnp.where(per_image(seen.valid, x), x, 0), jnp.uint32)
        exponent = ((own >> _FRACTION) & 0xFF).astype(jnp.int32)
        state = _raised(state, exponent.max(tuple(np.arange(max(x.ndim - 1, 1)).tolist())), cuts)
        cut = (((own & (2**_FRACTION - 1)) * cuts) >> _FRACTION).astype(jnp.int32)
        octave = exponent - _over(state.top - OCTAVES + 1, x.ndim)
        steps = jnp.where((octave < 0) | (exponent == 0), 0, octave * cuts + cut + 1)
        slot = half + jnp.where(own >> 31 == 1, -steps, steps)
        slot = slot.reshape(len(x), -1)
        points = slot.shape[1]
        slot = slot * points + jnp.arange(points, dtype=jnp.int32)[None]
        images = seen.valid.sum(dtype=jnp.uint32)
        amount = jnp.broadcast_to(seen.valid[:, None], slot.shape).astype(jnp.uint32)
        counts = state.counts.add_at(slot.reshape(-1), amount.reshape(-1), images)
        return QuantilesState(state.images.add(images), state.top, counts)

    def merge(left: QuantilesState, right: QuantilesState) -> QuantilesState:
        top = jnp.maximum(left.top, right.top)
        left, right = _raised(left, top, cuts), _raised(right, top, cuts)
        return QuantilesState(left.images.merge(right.images), top, left.counts.merge(right.counts))

    def finalize(state: QuantilesState) -> Result:
        shape = state.counts.low.shape[1:]
        some = (state.images.high > 0) | (state.images.low > 0)
        places = jax.tree.map(
            lambda limb: jnp.broadcast_to(limb.reshape(-1, *(1,) * len(shape)), (len(q), *shape)),
            ranks(q, state.images),
        )
        slot, _ = jax.vmap(locate, (None, 0))(state.counts, places)
        steps = jnp.maximum(jnp.abs(slot - half) - 1, 0)
        exponent = steps // cuts + _over(state.top - OCTAVES + 1, slot.ndim)
        size = _middle(steps % cuts, cuts) * _power(exponent)
        value = jnp.where(slot == half, 0, jnp.where(slot < half, -size, size))
        return {
            "value": Named(jnp.where(some, value, jnp.nan), ("quantile", *point_dims(len(shape)))),
            "q": Named(jnp.asarray(q, jnp.float32), ("quantile",)),
            "floor": Named(
                jnp.where(some, _power(jnp.maximum(state.top - OCTAVES + 1, 1)), jnp.nan),
                point_dims(len(shape))[-1:],
            ),
        }

    return Accumulator(init, update, merge, finalize, channelwise=True)


def _raised(state: QuantilesState, top: Int32[Array, "*channel"], cuts: int) -> QuantilesState:
    """The state where `top` is the largest exponent, if it is larger than the one so far."""
    higher = jnp.maximum(state.top, top)
    # With no exponent so far every count is of zeros.
    missing = jnp.where(state.top == 0, 0, jnp.minimum(higher - state.top, OCTAVES))

    def lower_all(carry: tuple[Array, Tally]) -> tuple[Array, Tally]:
        missing, counts = carry
        return missing - (missing > 0), _lowered(counts, missing > 0, cuts)

    _, counts = lax.while_loop(lambda carry: (carry[0] > 0).any(), lower_all, (missing, state.counts))
    return QuantilesState(state.images, higher, counts)


def _lowered(counts: Tally, where: Array, cuts: int) -> Tally:
    """The counts one octave nearer to zero in the channels `where`; the lowest octave joins the zeros."""
    half = counts.low.shape[0] // 2
    where = jnp.broadcast_to(where, counts.low.shape)

    def shift(limb: UInt32[Array, "slot ..."], zeros: UInt32[Array, ...]) -> UInt32[Array, "slot ..."]:
        none = jnp.zeros_like(limb[:cuts])
        parts = [none, limb[: half - cuts], zeros[None], limb[half + 1 + cuts :], none]
        return jnp.where(where, jnp.concatenate(parts), limb)

    gone = slice(half - cuts, half + cuts + 1)
    # Sums of 31 bits or more in two halves; what they carry is counted in `high`.
    low, carry = counts.low[gone] & 0xFFFF, counts.low[gone] >> 16
    small = low.sum(0, dtype=jnp.uint32)
    large = carry.sum(0, dtype=jnp.uint32) + (small >> 16)
    low_zeros = ((large & 0x7FFF) << 16) | (small & 0xFFFF)
    high_zeros = counts.high[gone].sum(0, dtype=jnp.uint32) + (large >> 15)
    bound = jnp.maximum(counts.bound, 2**31 - 1)
    return Tally(shift(counts.high, high_zeros), shift(counts.low, low_zeros), bound.astype(jnp.uint32))


def _over(channels: Int32[Array, "*channel"], ndim: int) -> Int32[Array, ...]:
    """One number a channel, with axes before it, so that it combines with an array of `ndim` axes."""
    return channels.reshape((1,) * (ndim - channels.ndim) + channels.shape)


def _middle(cut: Int32[Array, ...], cuts: int) -> Float[Array, ...]:
    """2 a b / (a + b) of the bucket of magnitudes from a = 1 + cut / S to b = 1 + (cut + 1) / S."""
    edges = 1 + np.arange(cuts + 1) / cuts
    middle = 2 * edges[:-1] * edges[1:] / (edges[:-1] + edges[1:])
    return jnp.take(jnp.asarray(middle, jnp.float32), cut)


def _power(exponent: Int32[Array, ...]) -> Float[Array, ...]:
    """2 to the power of a biased exponent, from 1 to 254."""
    return lax.bitcast_convert_type(exponent.astype(jnp.uint32) << _FRACTION, jnp.float32)
