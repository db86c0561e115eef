"""Order statistics to the last bit, by counting digits of the ordered bits of the float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt32

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.ranks import locate, minus, quantile_numbers, ranks
from pwact.core.streaming.tally import Tally
from pwact.errors import PwactError
from pwact.types import Observation

_SIGN = np.uint32(1 << 31)


class ExactQuantilesState(NamedTuple):
    """What is known of each quantile's bits, and how many values go on with which digit.

    `shift` is where this pass's digit ends, `prefix` the bits above it, `below` the number of values
    smaller than any with that prefix; these are the same in all parts of a pass.
    """

    images: Counter
    shift: UInt32[Array, ""]
    prefix: UInt32[Array, "quantile ..."]
    below: Counter
    digits: Tally


def exact_quantiles(q: float | Sequence[float] = (0.25, 0.5, 0.75), *, bits: int = 8) -> Accumulator:
    """Order statistics over images at every point, exact for any data.

    value_q = x_(k),   k = floor(q (n - 1)),   x_(0) <= x_(1) <= ... <= x_(n-1) the sorted values

    which is `numpy.quantile(x, q, method="lower")`, with 0.3 taken as 3 / 10. Floats are in the order
    of the whole numbers that their bits make (those of negative ones inverted). Each of 32 / bits passes over
    the data counts, among the values that agree with all digits found so far, the next digit of `bits` bits,
    and so finds one digit more. No value is rounded: the error is 0, ties and subnormals included (though
    what computes an activation on a CPU may flush subnormals); -0.0 is 0.0.

    The state takes 2^bits * 8 bytes a quantile and point: at 8 bits, 2 KiB. `per_channel` needs that a
    channel only, where bits=16 asks for 2 passes instead of 4.

    Args:
        q: one or more, each from 0 to 1.
        bits: a divisor of 32; more are fewer passes and a larger state.

    Returns:
        An accumulator with results `value` [quantile, ...] (activation's own unit) and `q` [quantile].
        Nothing seen: NaN.

    Raises:
        PwactError: a q that is not from 0 to 1, bits that do not divide 32; (by `init`) the activation is
            not of floating-point numbers of 32 bits or less, or the state has more than 2^31 counts.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import exact_quantiles
        >>> from pwact.types import Observation
        >>> acc = exact_quantiles(0.5, bits=16)
        >>> x, zero = jnp.array([[3.0], [-1.0], [0.1]]), jnp.zeros(3, jnp.int32)
        >>> seen = Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool))
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> state = acc.update(acc.advance(state), seen)
        >>> acc.finalize(state)["value"].values.tolist() == [[float(jnp.float32(0.1))]]
        True

    Source: ours; selection by radix, Knuth, The Art of Computer Programming 3 (1998), 5.2.5.
    """
    if bits not in (1, 2, 4, 8, 16) or isinstance(bits, bool):
        raise PwactError("bits of 1, 2, 4, 8 or 16", repr(bits), "take 8 at points, 16 for per_channel")
    return _exact_quantiles(quantile_numbers(q), bits)


@memoized
def _exact_quantiles(q: tuple[float, ...], bits: int) -> Accumulator:
    base = 2**bits

    def init(spec: jax.ShapeDtypeStruct) -> ExactQuantilesState:
        if float_dtype(spec) != jnp.float32:
            raise PwactError("floats of 32 bits or less", f"dtype {spec.dtype}", "convert with on()")
        shape = (len(q), *spec.shape)
        return ExactQuantilesState(
            Counter.zeros(),
            jnp.asarray(32 - bits, jnp.uint32),
            jnp.zeros(shape, jnp.uint32),
            Counter.zeros(shape),
            Tally.zeros((len(q), base, *spec.shape)),
        )

    def update(state: ExactQuantilesState, seen: Observation) -> ExactQuantilesState:
        images = seen.valid.sum(dtype=jnp.uint32)
        key = ordered(seen.activation.astype(jnp.float32))
        key = key.reshape(len(key), -1)
        digit = ((key >> state.shift) & (base - 1)).astype(jnp.int32)
        known = key >> state.shift >> bits  # in two steps: a shift by all 32 bits is not defined
        point = jnp.arange(key.shape[1], dtype=jnp.int32)[None]

        def one(number: Array, digits: Tally) -> Tally:
            prefix = state.prefix[number].reshape(1, -1) >> state.shift >> bits
            counts = (known == prefix) & seen.valid[:, None]
            # The others add nothing, to a slot that stays in cache.
            slot = (number * base + jnp.where(counts, digit, 0)) * key.shape[1] + point
            most = jnp.where(number == 0, images, 0)
            return digits.add_at(slot.reshape(-1), counts.reshape(-1).astype(jnp.uint32), most)

        digits = lax.fori_loop(0, len(q), one, state.digits)
        return state._replace(images=state.images.add(images), digits=digits)

    def merge(left: ExactQuantilesState, right: ExactQuantilesState) -> ExactQuantilesState:
        return left._replace(images=left.images.merge(right.images), digits=left.digits.merge(right.digits))

    def advance(state: ExactQuantilesState) -> ExactQuantilesState:
        places = ranks(q, state.images)
        places = jax.tree.map(
            lambda limb: jnp.broadcast_to(per_image(limb, state.prefix), state.prefix.shape), places
        )
        one_by_one = jax.vmap(locate, (Tally(0, 0, None), 0))
        digit, before = one_by_one(state.digits, minus(places, state.below))
        return ExactQuantilesState(
            Counter.zeros(),
            state.shift - jnp.uint32(bits),
            state.prefix | (digit.astype(jnp.uint32) << state.shift),
            state.below.merge(before),
            jax.tree.map(jnp.zeros_like, state.digits),
        )

    def finalize(state: ExactQuantilesState) -> Result:
        value = unordered(advance(state).prefix)
        some = (state.images.high > 0) | (state.images.low > 0)
        return {
            "value": Named(jnp.where(some, value, jnp.nan), ("quantile", *point_dims(value.ndim - 1))),
            "q": Named(jnp.asarray(q, jnp.float32), ("quantile",)),
        }

    return Accumulator(init, update, merge, finalize, advance, passes=32 // bits, channelwise=True)


def ordered(x: Float[Array, ...]) -> UInt32[Array, ...]:
    """Whole numbers in the order of the floats: x < y where ordered(x) < ordered(y), and -0.0 is 0.0.

    Example:
        >>> ordered(jnp.array([-1.0, -0.0, 0.0, 1.0])).tolist()
        [1082130431, 2147483648, 2147483648, 3212836864]
    """
    own = lax.bitcast_convert_type(x, jnp.uint32)
    own = jnp.where(own == _SIGN, jnp.uint32(0), own)
    return jnp.where(own >= _SIGN, ~own, own | _SIGN)


def unordered(key: UInt32[Array, ...]) -> Float[Array, ...]:
    """The floats that `ordered` made whole numbers of."""
    return lax.bitcast_convert_type(jnp.where(key >= _SIGN, key & (_SIGN - 1), ~key), jnp.float32)
