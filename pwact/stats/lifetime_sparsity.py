"""Whether a point is active for few images or for many alike."""

from __future__ import annotations

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result
from pwact.core.caching import memoized
from pwact.core.streaming.sparsity import sparsities
from pwact.stats.moments import MomentsState, moments
from pwact.types import Observation


@memoized
def lifetime_sparsity() -> Accumulator:
    """Treves-Rolls and Hoyer sparsity of every point over images: 0 if all are alike, 1 if one is alone.

    treves_rolls = (1 - (sum_i |x_i| / n)^2 / (sum_i x_i^2 / n)) / (1 - 1 / n)
    hoyer        = (sqrt(n) - sum_i |x_i| / sqrt(sum_i x_i^2)) / (sqrt(n) - 1)

    Both are found from mean m and variance v of |x|, with t = v / m^2, without the difference of nearly equal
    numbers that the formulas have where a point is not sparse:

        treves_rolls = t / (1 + t) / (1 - 1 / n)
        hoyer        = t / (1 + t) / (1 + 1 / sqrt(1 + t)) / (1 - 1 / sqrt(n))

    Their relative error is at most that of v plus that of m^2: 8 (B + 4) u + 16 u, with updates of B
    images and u = 2^-24 as in `moments`. `lifetime_gini` is the third of the usual measures.
    `per_channel(lifetime_sparsity())` takes all points of a channel as its samples.

    Returns:
        An accumulator with results `count` (int64, images), `treves_rolls` and `hoyer` (0 to 1). NaN where
        fewer than two images were seen, and where a point is 0 for each of them. Too large for float32: inf.
        A spread below 1e-19 counts as none.

    Raises:
        PwactError: (by `init`) the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import lifetime_sparsity
        >>> from pwact.types import Observation
        >>> acc = lifetime_sparsity()
        >>> x, zero = jnp.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((2,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool)))
        >>> [round(float(value), 4) for value in acc.finalize(state)["treves_rolls"].values]
        [1.0, 0.0]

    Reference: Treves and Rolls, "What determines the capacity of autoassociative memories in the brain?",
        Network 2 (1991), scaled to 0 .. 1 as Vinje and Gallant, Science 287 (2000), and of |x| as Willmore
        and Tolhurst, Network 12 (2001); Hoyer, "Non-negative matrix factorization with sparseness
        constraints", JMLR 5 (2004). Reconstructed from the formulas.
    """
    size = moments()

    def update(state: MomentsState, seen: Observation) -> MomentsState:
        return size.update(state, seen._replace(activation=jnp.abs(seen.activation)))

    def finalize(state: MomentsState) -> Result:
        found, n = size.finalize(state), state.images.to_float()
        mean, variance = found["mean"], found["variance"].values
        ratio = variance / mean.values / mean.values
        several, some = jnp.maximum(n, 2), (n > 1) & (mean.values > 0)
        result = {"count": found["count"]}
        for name, value in sparsities(ratio, several).items():
            value = jnp.where(jnp.isinf(variance), jnp.inf, jnp.where(some, value, jnp.nan))
            result[name] = Named(value, mean.dims)
        return result

    return size._replace(update=update, finalize=finalize)
