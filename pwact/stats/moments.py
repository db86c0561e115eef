"""Count, mean, variance, skewness and kurtosis at every point."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import whole_number
from pwact.core.blocks import in_blocks
from pwact.core.counter import Counter
from pwact.core.memory import memoized
from pwact.errors import PwactError
from pwact.types import Observation

Powers = tuple[Array, ...]


class MomentsState(NamedTuple):
    """Images seen, and at every point the mean in two parts and the sum of squared deviations.

    `higher`: the sums of deviations to the third and to the fourth power, as far as they were asked for, in
    the unit that `_unit` finds from the squares.
    """

    images: Counter
    mean: Float[Array, "*dims"]
    rest: Float[Array, "*dims"]
    squares: Float[Array, "*dims"]
    higher: tuple[Float[Array, "*dims"], ...] = ()


@memoized
def moments(order: int = 2) -> Accumulator:
    """Count, mean and (population) variance over images, at every point; skewness and kurtosis if asked for.

    mean = sum_i x_i / n,   variance = sum_i (x_i - mean)^2 / n
    skewness = sum_i (x_i - mean)^3 / n / variance^(3/2)
    kurtosis = sum_i (x_i - mean)^4 / n / variance^2     (3 for a normal distribution: not the excess)

    A batch is measured from the mean so far, d_i = x_i - mean, and joins it by

        m = sum d / n_b,   delta = m - rest,   w = n_b / (n + n_b),   v = 1 - w
        squares += sum d^2 - m sum d + delta^2 n w,   (mean, rest) += delta w

    and to order 3 and 4, where M_k is the sum of k-th powers so far and B_k that of (d_i - m)^k,

        M_3 += B_3 + 3 delta (v B_2 - w M_2) + delta^3 n w (v - w)
        M_4 += B_4 + 4 delta (v B_3 - w M_3) + 6 delta^2 (v^2 B_2 + w^2 M_2) + delta^4 n w (v^2 - v w + w^2)

    The mean is kept as an unevaluated sum of two floats, so offsets far larger than the spread cost
    nothing; M_3 and M_4 are kept in units of the standard deviation (rounded down to a power of two), so
    they neither overflow nor vanish where the variance does not. With u = 2^-24 and T updates of B images
    the relative error of the variance is at most about (T + B) u plus what rounding the data to float32
    itself costs, and in practice near sqrt(T) u; that of the mean is 2 u |mean| + (T + B) u sigma. To first
    order in u the error of the skewness is at most about 8 (T + B) u a, where a is the mean of
    |x_i - mean|^3 over variance^(3/2), and that of the kurtosis 16 (T + B) u times itself, plus the same
    8 (T + B) u a for every sigma that the mean so far wanders. NumPy in float64 is the reference.

    Args:
        order: 2 for count, mean and variance; 3 for skewness as well; 4 for kurtosis as well.

    Returns:
        An accumulator with results `count` (int64, images), `mean` and `variance` (activation's own
        unit, and its square), `skewness` and `kurtosis` (no unit). Nothing seen: count 0, the others NaN.
        No spread: skewness and kurtosis NaN. Too large for float32: inf.

    Raises:
        PwactError: an order other than 2, 3, 4; (by `init`) the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import moments
        >>> from pwact.types import Observation
        >>> acc = moments(order=4)
        >>> x = jnp.array([[1e6 - 1], [1e6 + 1], [jnp.nan]])
        >>> zero, valid = jnp.zeros(3, jnp.int32), jnp.array([True, True, False])
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> result = acc.finalize(acc.update(state, Observation(x, zero, zero, jnp.arange(3), valid)))
        >>> [result[name].values.tolist() for name in ("mean", "variance", "skewness", "kurtosis")]
        [[1000000.0], [1.0], [0.0], [1.0]]

    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983); the two-part mean after Dekker (1971); orders 3 and 4 after Pebay, "Formulas
        for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments",
        Sandia report SAND2008-6212 (2008). Reconstructed from the formulas.
    """
    order = whole_number("order", order, "write moments(order=4) for kurtosis", least=2)
    if order > 4:
        raise PwactError("an order of 2, 3 or 4", repr(order), "write moments(order=4) for kurtosis")

    def init(spec: jax.ShapeDtypeStruct) -> MomentsState:
        zero = jnp.zeros(spec.shape, float_dtype(spec))
        return MomentsState(Counter.zeros(), zero, zero, zero, (zero,) * (order - 2))

    def update(state: MomentsState, seen: Observation) -> MomentsState:
        x = seen.activation.astype(state.mean.dtype)
        new = seen.valid.sum(dtype=jnp.uint32)
        before, arrived = state.images.to_float(), new.astype(jnp.float32)
        first = jnp.take(x, jnp.argmax(seen.valid), axis=0)
        mean = jnp.where((before == 0) & (new > 0), first, state.mean)
        centred = jnp.where(per_image(seen.valid, x), x - mean[None], 0)
        total, squares = centred.sum(0), (centred * centred).sum(0)
        offset = total / jnp.maximum(arrived, 1)
        delta = offset - state.rest
        weight = arrived / jnp.maximum(before + arrived, 1)
        own = jnp.maximum(squares - offset * total, 0)
        mean, rest = _two_sum(mean, state.rest + delta * weight)
        joined = state.squares + (own + delta * delta * (before * weight))
        seen_so_far = state.images.add(new)
        if order == 2:
            return MomentsState(seen_so_far, mean, rest, joined)
        scale = _scale(joined, seen_so_far)
        spread = jnp.where(per_image(seen.valid, x), (centred - offset[None]) * scale[None], 0)
        batch = [own * scale * scale] + [(spread**power).sum(0) for power in range(3, order + 1)]
        higher = _together(_powers(state, scale), batch, delta * scale, before, arrived)
        return MomentsState(seen_so_far, mean, rest, joined, higher)

    def merge(left: MomentsState, right: MomentsState) -> MomentsState:
        n_left, n_right = left.images.to_float(), right.images.to_float()
        delta = (right.mean - left.mean) + (right.rest - left.rest)
        weight = n_right / jnp.maximum(n_left + n_right, 1)
        mean, rest = _two_sum(left.mean, left.rest + delta * weight)
        squares = left.squares + right.squares + delta * delta * (n_left * weight)
        images = left.images.merge(right.images)
        higher: Powers = ()
        if order > 2:
            scale = _scale(squares, images)
            powers = (_powers(left, scale), _powers(right, scale))
            higher = _together(*powers, delta * scale, n_left, n_right)

        def choose(both: Array, left: Array, right: Array) -> Array:
            return jnp.where(n_left == 0, right, jnp.where(n_right == 0, left, both))

        return MomentsState(
            images,
            choose(mean, left.mean, right.mean),
            choose(rest, left.rest, right.rest),
            choose(squares, left.squares, right.squares),
            tuple(map(choose, higher, left.higher, right.higher)),
        )

    def finalize(state: MomentsState) -> Result:
        n = state.images.to_float()
        dims = point_dims(state.mean.ndim)
        variance = state.squares / jnp.maximum(n, 1)
        mean = state.mean + state.rest
        overflow = ~(jnp.isfinite(mean) & jnp.isfinite(variance))
        result = {
            "count": Named(state.images, ()),
            "mean": Named(jnp.where(n > 0, mean, jnp.nan), dims),
            "variance": Named(jnp.where(n > 0, jnp.where(overflow, jnp.inf, variance), jnp.nan), dims),
        }
        sigma = jnp.sqrt(variance) * _scale(state.squares, state.images)
        for power, name, total in zip((3, 4), ("skewness", "kurtosis"), state.higher, strict=False):
            standard = total / (jnp.maximum(n, 1) * sigma**power)
            value = jnp.where(overflow, jnp.inf, jnp.where(variance > 0, standard, jnp.nan))
            result[name] = Named(jnp.where(n > 0, value, jnp.nan), dims)
        return result

    return Accumulator(init, in_blocks(update), merge, finalize, channelwise=True)


def _two_sum(large: Array, small: Array) -> tuple[Array, Array]:
    """large + small as (rounded sum, what rounding left over), for any magnitudes."""
    total = large + small
    back = total - large
    return total, (large - (total - back)) + (small - back)


def _scale(squares: Array, images: Counter) -> Array:
    """One over the standard deviation, to within a factor of two: a power of two found from exponents alone,
    so that every program finds the same."""
    total, count = (
        (lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32) >> 23) - 127
        for x in (squares, images.to_float())
    )
    half = (total - jnp.maximum(count, 0)) >> 1
    return lax.bitcast_convert_type((127 - half) << 23, jnp.float32).astype(squares.dtype)


def _powers(state: MomentsState, scale: Array) -> list[Array]:
    """The sums of squares, cubes, ... of a state in the unit 1 / scale."""
    ratio = scale / _scale(state.squares, state.images)
    higher = [total * ratio**power for power, total in enumerate(state.higher, 3)]
    return [state.squares * scale * scale, *higher]


def _together(left: list[Array], right: list[Array], delta: Array, n_left: Array, n_right: Array) -> Powers:
    """Sums of cubes, and of fourth powers where both sides have them, about the common mean.

    `left`, `right`: sums of squares, cubes, fourth powers, each about its own mean; the means are `delta`
    apart.
    """
    n = jnp.maximum(n_left + n_right, 1)
    v, w = n_left / n, n_right / n
    apart = delta * delta * (n_left * w)
    cubes = left[1] + right[1] + 3 * delta * (v * right[0] - w * left[0]) + apart * delta * (v - w)
    if len(left) == 2:
        return (cubes,)
    fourths = (left[2] + right[2]) + 4 * delta * (v * right[1] - w * left[1])
    fourths += 6 * delta * delta * (v * v * right[0] + w * w * left[0])
    return cubes, fourths + apart * delta * delta * (v * v - v * w + w * w)
