"""How far apart the classes are at every point."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from pwact.core.accumulator import Accumulator, Named, Result, point_dims
from pwact.core.caching import memoized
from pwact.core.combinators import by_class
from pwact.stats.moments import MomentsState, moments


@memoized
def selectivity(num_classes: int) -> Accumulator:
    """How much every point prefers one class, tells each from the rest, and varies between classes.

    index       = (mu_max - mu_rest) / (mu_max + mu_rest)
    d_prime_c   = (mu_c - mu_!c) / sqrt((var_c + var_!c) / 2)
    eta_squared = sum_c n_c (mu_c - mu)^2 / sum_i (x_i - mu)^2

    mu_c and var_c are mean and (population) variance of class c, mu_!c and var_!c those of all images of
    other classes, mu is the mean of all images. mu_max is the largest class mean, mu_rest the mean of the
    other classes' means, each class counting once. Classes without images are left out. d' weighs both
    variances equally, so that it does not change with how frequent a class is.

    State and update are those of `by_class(moments(), num_classes)`, whose results are the class means
    themselves. Let u = 2^-24, C classes, updates of B images, and k = B + C + 4. Means are subtracted in
    their two parts, so an offset costs nothing: d' is within 4 k u (1 + |d'|), eta_squared within
    4 k u (eta_squared + sqrt(eta_squared)), plus what rounding the data to float32 costs. The index is
    within (8 + C) u + 2 k u s / mu_max, s being the largest standard deviation of a class. Class means closer
    than k u s + 2 u mu_max may be taken for one another in `preferred`; of equal ones it is the first.

    Args:
        num_classes: classes are 0 .. num_classes - 1.

    Returns:
        An accumulator with results `count` [class] (int64, images), `index` (0 to 1), `preferred` (int32,
        the class of mu_max; -1 of nothing), `d_prime` [class, ...] (positive where the class is above the
        others) and `eta_squared` (0 to 1). NaN where there is nothing to divide by: no variance, or fewer
        than two classes with images. The index is for what is never negative, such as the output of a
        ReLU: NaN where a class mean is below 0 or all are 0. Too large for float32: inf.

    Raises:
        PwactError: fewer than one class; (by `init`) the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import selectivity
        >>> from pwact.types import Observation
        >>> acc = selectivity(num_classes=2)
        >>> x, label = jnp.array([[0.0], [2.0], [2.0], [4.0]]), jnp.array([0, 0, 1, 1])
        >>> seen = Observation(x, label, label, jnp.arange(4), jnp.ones(4, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> {name: result[name].values.ravel().tolist() for name in ("index", "d_prime", "eta_squared")}
        {'index': [0.5], 'd_prime': [-2.0, 2.0], 'eta_squared': [0.5]}

    Reference: the index after Morcos, Barrett, Rabinowitz and Botvinick, "On the importance of single
        directions for generalization" (ICLR 2018); d' after Green and Swets, "Signal detection theory and
        psychophysics" (1966), with two variances as in Simpson and Fitter, Psychological Bulletin 80
        (1973); eta squared after Fisher, "Statistical methods for research workers" (1925).
        Reconstructed from the formulas.
    """
    acc = moments()
    classes = by_class(acc, num_classes)

    def finalize(state: MomentsState) -> Result:
        dims = point_dims(state.mean.sum.ndim - 1)
        present = (state.images.to_float() > 0).sum()
        nothing = acc.init(jax.ShapeDtypeStruct(state.mean.sum.shape[1:], state.mean.sum.dtype))
        zero = jnp.zeros_like(nothing.mean.sum)

        def backward(after: MomentsState, own: MomentsState) -> tuple[MomentsState, MomentsState]:
            return acc.merge(own, after), after

        def forward(carry: Any, now: Any) -> tuple[Any, Array]:
            before, prefers, between, within, overflow = carry
            number, own, after = now
            n, result = own.images.to_float(), acc.finalize(own)
            mean, variance = result["mean"].values, result["variance"].values
            prefers = _next(prefers, number, mean, n > 0, 1 / jnp.maximum(present - 1, 1))
            between, within = between + n * _minus(own, total) ** 2, within + own.squares.sum
            overflow |= jnp.isinf(mean) | jnp.isinf(variance)
            # Taking a class off the total would lose what is small beside it.
            d_prime = _d_prime(own, acc.merge(before, after))
            return (acc.merge(before, own), prefers, between, within, overflow), d_prime

        total, after = lax.scan(backward, nothing, state, reverse=True)
        unknown = Preference(zero - jnp.inf, jnp.full(zero.shape, -1), zero, zero + jnp.inf)
        numbers = jnp.arange(num_classes, dtype=jnp.int32)
        (_, prefers, between, within, overflow), d_prime = lax.scan(
            forward, (nothing, unknown, zero, zero, zero > 0), (numbers, state, after)
        )
        several, spread = present > 1, between + within
        overflow |= ~jnp.isfinite(spread)
        index = jnp.where(several, _index(prefers), jnp.nan)
        eta_squared = jnp.where(several & (spread > 0), between / spread, jnp.nan)
        return {
            "count": Named(state.images, ("class",)),
            "index": Named(jnp.where(overflow, jnp.inf, index), dims),
            "preferred": Named(prefers.preferred, dims),
            "d_prime": Named(jnp.where(overflow[None], jnp.inf, d_prime), ("class", *dims)),
            "eta_squared": Named(jnp.where(overflow, jnp.inf, eta_squared), dims),
        }

    return classes._replace(finalize=finalize)


class Preference(NamedTuple):
    """Of the classes so far: the largest mean, whose it is, the mean of the others, the least."""

    high: Float[Array, "*dims"]
    preferred: Int32[Array, "*dims"]
    rest: Float[Array, "*dims"]
    low: Float[Array, "*dims"]


def _next(so_far: Preference, number: Array, mean: Array, some: Array, share: Array) -> Preference:
    """With one class more, which has images or not; `share` is one over the number of the others."""
    high, preferred, rest, low = so_far
    better = some & (mean > high)
    other = jnp.where(better, jnp.where(preferred >= 0, high, 0), jnp.where(some, mean, 0))
    return Preference(
        jnp.where(better, mean, high),
        jnp.where(better, number, preferred),
        rest + other * share,
        jnp.where(some, jnp.minimum(low, mean), low),
    )


def _index(prefers: Preference) -> Array:
    high, rest = prefers.high / 2, prefers.rest / 2  # their sum cannot overflow
    index = jnp.maximum(high - rest, 0) / (high + rest)
    return jnp.where((prefers.low >= 0) & (high > 0), index, jnp.nan)


def _d_prime(own: MomentsState, other: MomentsState) -> Array:
    variance = (_variance(own) + _variance(other)) / 2
    return jnp.where(variance > 0, _minus(own, other) / jnp.sqrt(variance), jnp.nan)


def _variance(state: MomentsState) -> Array:
    """NaN of nothing."""
    return state.squares.sum / state.images.to_float()


def _minus(one: MomentsState, other: MomentsState) -> Array:
    """The difference of two means."""
    return (one.mean.sum - other.mean.sum) + (one.mean.rest - other.mean.rest)
