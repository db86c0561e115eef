"""Count, mean, variance, skewness and kurtosis at every point."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import whole_number
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.joint import Two, add
from pwact.errors import PwactError
from pwact.types import Observation


class MomentsState(NamedTuple):
    """Images seen, and at every point the mean and the sum of squared deviations, each in two parts.

    `higher`: the sums of deviations to the third and to the fourth power, as far as they were asked for, in
    the unit that `_scale` finds from the squares.
    """

    images: Counter
    mean: Two
    squares: Two
    higher: tuple[Two, ...] = ()


HigherPowers = Callable[[Array], tuple[Two, ...]]


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

    All sums are kept as unevaluated sums of two floats, so that the number of updates costs nothing, nor do
    offsets far larger than the spread; M_3 and M_4 are kept in units of the standard deviation (rounded down
    to a power of two), so they neither overflow nor vanish where the variance does not. With u = 2^-24 and
    updates of B images, however many, the relative error of the variance is at most about 4 (B + 4) u plus
    what rounding the data to float32 itself costs, and in practice a few u, but B u where the very first
    image lies far from all others; that of the mean is 2 u |mean| + (B + 4) u sigma. To first
    order in u the error of the skewness is at most about
    8 (B + 4) u a, where a is the mean of |x_i - mean|^3 over variance^(3/2), and that of the kurtosis
    16 (B + 4) u times itself, plus the same 8 (B + 4) u a for every sigma that the mean so far wanders.
    Merging k states adds at most log2(k) u to each. NumPy in float64 is the reference.

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
        Statistician 37 (1983); sums in two parts after Dekker (1971); orders 3 and 4 after Pebay, "Formulas
        for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments",
        Sandia report SAND2008-6212 (2008). Reconstructed from the formulas.
    """
    order = whole_number("order", order, "write moments(order=4) for kurtosis", least=2)
    if order > 4:
        raise PwactError("an order of 2, 3 or 4", repr(order), "write moments(order=4) for kurtosis")

    def init(spec: jax.ShapeDtypeStruct) -> MomentsState:
        zero = jnp.zeros(spec.shape, float_dtype(spec))
        nothing = Two(zero, zero)
        return MomentsState(Counter.zeros(), nothing, nothing, (nothing,) * (order - 2))

    def update(state: MomentsState, seen: Observation) -> MomentsState:
        def add_batch(state: MomentsState) -> MomentsState:
            first = jnp.take(seen.activation, jnp.argmax(seen.valid), axis=0).astype(state.mean.sum.dtype)
            origin = jnp.where(state.images.to_float() == 0, first, state.mean.sum)
            state = state._replace(mean=Two(origin, state.mean.rest))
            batch, higher_powers = _of_batch(state, seen, order)
            return _join(state, batch, _higher_powers(state), higher_powers)

        return only_if(seen.valid.any(), add_batch, state)

    def merge(left: MomentsState, right: MomentsState) -> MomentsState:
        # What holds fewer images is added to what holds more, so that its own rounding is all that counts.
        choose = functools.partial(jnp.where, left.images.to_float() < right.images.to_float())
        more, less = jax.tree.map(choose, right, left), jax.tree.map(choose, left, right)
        return _join(more, less, _higher_powers(more), _higher_powers(less))

    def finalize(state: MomentsState) -> Result:
        n = state.images.to_float()
        dims = point_dims(state.mean.sum.ndim)
        variance = (state.squares.sum + state.squares.rest) / jnp.maximum(n, 1)
        mean = state.mean.sum + state.mean.rest
        overflow = ~(jnp.isfinite(mean) & jnp.isfinite(variance))
        result = {
            "count": Named(state.images, ()),
            "mean": Named(jnp.where(n > 0, mean, jnp.nan), dims),
            "variance": Named(jnp.where(n > 0, jnp.where(overflow, jnp.inf, variance), jnp.nan), dims),
        }
        sigma = jnp.sqrt(variance) * _scale(state.squares.sum, state.images)
        for power, name, total in zip((3, 4), ("skewness", "kurtosis"), state.higher, strict=False):
            standard = (total.sum + total.rest) / (jnp.maximum(n, 1) * sigma**power)
            value = jnp.where(overflow, jnp.inf, jnp.where(variance > 0, standard, jnp.nan))
            result[name] = Named(jnp.where(n > 0, value, jnp.nan), dims)
        return result

    return Accumulator(init, update, merge, finalize, channelwise=True)


def _total(
    of: Callable[[Array], tuple[Array, ...]], seen: Observation, like: Array, parts: int
) -> tuple[Array, ...]:
    """Sums over valid rows of what is made of them."""

    def add_block(sums: tuple[Array, ...], block: Observation) -> tuple[Array, ...]:
        valid = per_image(block.valid, block.activation)
        values = of(block.activation.astype(like.dtype))
        return tuple(
            so_far + jnp.where(valid, value, 0).sum(0) for so_far, value in zip(sums, values, strict=True)
        )

    return in_blocks(add_block)((jnp.zeros_like(like),) * parts, seen)


def _of_batch(state: MomentsState, seen: Observation, order: int) -> tuple[MomentsState, HigherPowers]:
    """Count, mean and squares of a batch alone, and how to find its sums of higher powers."""
    origin, zero = state.mean.sum, jnp.zeros_like(state.mean.sum)
    images = Counter.zeros().add(seen.valid.sum(dtype=jnp.uint32))

    def first_and_second(x: Array) -> tuple[Array, Array]:
        centred = x - origin[None]
        return centred, centred * centred

    deviations, squares = _total(first_and_second, seen, zero, 2)
    offset = deviations / jnp.maximum(images.to_float(), 1)
    own = jnp.maximum(squares - offset * deviations, 0)

    def higher_powers(scale: Array) -> tuple[Two, ...]:
        def third_and_fourth(x: Array) -> tuple[Array, ...]:
            spread = ((x - origin[None]) - offset[None]) * scale[None]
            return tuple(spread**power for power in range(3, order + 1))

        return tuple(Two(power, zero) for power in _total(third_and_fourth, seen, zero, order - 2))

    return MomentsState(images, Two(origin, offset), Two(own, zero), state.higher), higher_powers


def _join(
    more: MomentsState, less: MomentsState, of_more: HigherPowers, of_less: HigherPowers
) -> MomentsState:
    """The state of what either has seen; `of_more`, `of_less`: a unit -> the sums of higher powers in it."""
    n, n_less = more.images.to_float(), less.images.to_float()
    apart = (less.mean.sum - more.mean.sum) + (less.mean.rest - more.mean.rest)
    delta = jnp.where(n_less > 0, apart, 0)
    weight = n_less / jnp.maximum(n + n_less, 1)
    images = more.images.merge(less.images)
    mean = add(more.mean, delta * weight)
    squares = _sum(more.squares, less.squares, delta * delta * (n * weight))
    if not more.higher:
        return MomentsState(images, mean, squares)
    scale = _scale(squares.sum, images)
    own, other = (
        (Two(state.squares.sum * scale * scale, state.squares.rest * scale * scale), *higher(scale))
        for state, higher in ((more, of_more), (less, of_less))
    )
    return MomentsState(images, mean, squares, _together(own, other, delta * scale, n, n_less))


def _sum(more: Two, less: Two, amount: Array) -> Two:
    return add(more, less.sum + (less.rest + amount))


def _scale(squares: Array, images: Counter) -> Array:
    """One over the standard deviation, to within a factor of two: a power of two found from exponents alone,
    so that every program finds the same."""
    total, count = (
        (lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32) >> 23) - 127
        for x in (squares, images.to_float())
    )
    half = (total - jnp.maximum(count, 0)) >> 1
    return lax.bitcast_convert_type((127 - half) << 23, jnp.float32).astype(squares.dtype)


def _higher_powers(state: MomentsState) -> HigherPowers:
    """How to find the sums of cubes, ... of a state in the unit 1 / scale."""

    def in_unit(scale: Array) -> tuple[Two, ...]:
        ratio = scale / _scale(state.squares.sum, state.images)
        return tuple(
            Two(*(part * ratio**power for part in total)) for power, total in enumerate(state.higher, 3)
        )

    return in_unit


def _together(
    more: tuple[Two, ...], less: tuple[Two, ...], delta: Array, n: Array, n_less: Array
) -> tuple[Two, ...]:
    """Sums of cubes, and of fourth powers where both sides have them, about the common mean.

    `more`, `less`: sums of squares, cubes, fourth powers, each about its own mean; the means are `delta`
    apart.
    """
    v, w = (count / jnp.maximum(n + n_less, 1) for count in (n, n_less))
    apart = delta * delta * (n * w)
    moved = 3 * delta * (v * less[0].sum - w * more[0].sum) + apart * delta * (v - w)
    cubes = _sum(more[1], less[1], moved)
    if len(more) == 2:
        return (cubes,)
    moved = 4 * delta * (v * less[1].sum - w * more[1].sum)
    moved += 6 * delta * delta * (v * v * less[0].sum + w * w * more[0].sum)
    return cubes, _sum(more[2], less[2], moved + apart * delta * delta * (v * v - v * w + w * w))
