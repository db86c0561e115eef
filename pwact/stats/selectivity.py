"""How far apart the classes are at every point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from pwact.core.accumulator import Accumulator, Named, Result, per_image, point_dims
from pwact.core.combinators import by_class
from pwact.core.memory import memoized
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
    themselves. Let u = 2^-24, C classes, T updates of B images, and k = T + B + C. Means are subtracted in
    their two parts, so an offset costs nothing: d' is within 4 k u (1 + |d'|), eta_squared within
    4 k u (eta_squared + sqrt(eta_squared)), plus what rounding the data to float32 costs. The index is
    within 8 u + 2 k u s / mu_max, s being the largest standard deviation of a class. Class means closer
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
    own = moments()
    classes = by_class(own, num_classes)

    def finalize(state: MomentsState) -> Result:
        dims = point_dims(state.mean.ndim - 1)
        each = jax.vmap(own.finalize)(state)
        mean, variance = each["mean"].values, each["variance"].values
        n = per_image(state.images.to_float(), mean)
        several = (n > 0).sum() > 1
        total, d_prime = _one_against_the_rest(own, state)
        between = (n * _minus(state, jax.tree.map(lambda leaf: leaf[None], total)) ** 2).sum(0)
        spread = between + state.squares.sum(0)
        overflow = (jnp.isinf(mean) | jnp.isinf(variance)).any(0) | ~jnp.isfinite(spread)
        index, preferred = _prefers(mean, n > 0)
        eta_squared = jnp.where(several & (spread > 0), between / spread, jnp.nan)
        return {
            "count": Named(state.images, ("class",)),
            "index": Named(jnp.where(overflow, jnp.inf, index), dims),
            "preferred": Named(preferred, dims),
            "d_prime": Named(jnp.where(overflow[None], jnp.inf, d_prime), ("class", *dims)),
            "eta_squared": Named(jnp.where(overflow, jnp.inf, eta_squared), dims),
        }

    return classes._replace(finalize=finalize)


def _prefers(mean: Float[Array, "class ..."], some: Bool[Array, "class ..."]) -> tuple[Array, Array]:
    """The index and the preferred class, from class means and whether each class has images."""
    classes = some.sum()
    preferred = jnp.where(some, mean, -jnp.inf).argmax(0).astype(jnp.int32)
    high, low = jnp.where(some, mean, -jnp.inf).max(0), jnp.where(some, mean, jnp.inf).min(0)
    other = some & (per_image(jnp.arange(len(mean)), mean) != preferred[None])
    # Divided before they are added: no sum can overflow.
    rest = jnp.where(other, mean / jnp.maximum(classes - 1, 1), 0).sum(0)
    index = jnp.maximum(high / 2 - rest / 2, 0) / (high / 2 + rest / 2)
    index = jnp.where((classes > 1) & (low >= 0) & (high > 0), index, jnp.nan)
    return index, jnp.where(classes > 0, preferred, -1)


def _one_against_the_rest(acc: Accumulator, state: MomentsState) -> tuple[MomentsState, Array]:
    """The moments of all classes, and d' of each class against all others.

    The others are those before it and those after it, merged: taking a class off the total would lose
    what is small beside it.
    """
    nothing = acc.init(jax.ShapeDtypeStruct(state.mean.shape[1:], state.mean.dtype))

    def backward(after: MomentsState, own: MomentsState) -> tuple[MomentsState, MomentsState]:
        return acc.merge(own, after), after

    def forward(before: MomentsState, now: tuple[MomentsState, MomentsState]) -> tuple[MomentsState, Array]:
        own, after = now
        rest = acc.merge(before, after)
        variance = (_variance(own) + _variance(rest)) / 2
        d_prime = _minus(own, rest) / jnp.sqrt(variance)
        return acc.merge(before, own), jnp.where(variance > 0, d_prime, jnp.nan)

    _, after = lax.scan(backward, nothing, state, reverse=True)
    return lax.scan(forward, nothing, (state, after))


def _variance(state: MomentsState) -> Array:
    """NaN of nothing."""
    return state.squares / state.images.to_float()


def _minus(one: MomentsState, other: MomentsState) -> Array:
    """The difference of two means."""
    return (one.mean - other.mean) + (one.rest - other.rest)
