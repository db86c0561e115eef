"""What it says about the class of an image that a point is active."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pwact.core.accumulator import Accumulator, Named, Result, point_dims
from pwact.core.caching import memoized
from pwact.core.combinators import by_class
from pwact.core.streaming.counter import Counter
from pwact.stats.firing import FiringState, firing


@memoized
def mutual_information(num_classes: int, *, threshold: float = 0.0) -> Accumulator:
    """The mutual information of firing (x > threshold) and class, at every point, in bits.

    raw       = sum over f in {silent, firing} and classes c of  p_fc log2(p_fc / (p_f p_c))
    corrected = raw + (m_f + m_c - m_fc - 1) / (2 n ln 2)

    p are shares of the n images; m_f, m_c and m_fc count the firing states, the classes and the pairs of
    both that occur. This is Miller's and Madow's correction of each of the three entropies, (m - 1) / 2n
    nats: a finite sample makes independence look like information, by (m_f - 1)(m_c - 1) / (2 n ln 2) on
    average where all pairs occur. The corrected value is not clipped and can be slightly negative, so
    that its mean over points stays a mean.

    State and update are those of `by_class(firing(threshold), num_classes)`: exact counts. Every term is
    taken as p ln(p/q) - p + q, which is never negative and adds up to the same, so that nothing cancels:
    the error is at most (64 + C) u bits for C classes, u = 2^-24.

    Args:
        num_classes: classes are 0 .. num_classes - 1.
        threshold: in the activation's own unit; equal to it does not fire.

    Returns:
        An accumulator with results `count` [class] (int64, images), `raw` (0 to 1 bit) and `corrected`.
        Nothing seen: count 0, the others NaN.

    Raises:
        PwactError: fewer than one class, a threshold that is no finite number; (by `init`) the activation
            is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import mutual_information
        >>> from pwact.types import Observation
        >>> acc = mutual_information(num_classes=2)
        >>> x, label = jnp.array([[0.0], [0.0], [1.0], [1.0]]), jnp.array([0, 0, 1, 1])
        >>> seen = Observation(x, label, label, jnp.arange(4), jnp.ones(4, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> float(result["raw"].values[0]), round(float(result["corrected"].values[0]), 3)
        (1.0, 1.18)

    Reference: Miller, "Note on the bias of information estimates", in "Information theory in psychology"
        (1955); Panzeri and Treves, Network 7 (1996). Reconstructed from the formulas.
    """
    classes = by_class(firing(threshold), num_classes)

    def finalize(state: FiringState) -> Result:
        dims = point_dims(state.fired.ndim - 1)
        images, fires = _sum(state.images), _sum(state.fired)
        quiet = _minus(images, fires)
        n = jnp.maximum(images.to_float(), 1)

        def one_class(carry: tuple[Array, Array], own: FiringState) -> tuple[tuple[Array, Array], None]:
            nats, pairs = carry
            for both, either in ((own.fired, fires), (_minus(own.images, own.fired), quiet)):
                expected = own.images.to_float() / n * (either.to_float() / n)
                nats, pairs = nats + _terms(both.to_float() / n, expected), pairs + _some(both)
            return (nats, pairs), None

        nothing = jnp.zeros(fires.shape), jnp.zeros(fires.shape, jnp.int32)
        (nats, pairs), _ = lax.scan(one_class, nothing, state)
        occur = _some(fires).astype(jnp.int32) + _some(quiet) + _some(state.images).sum()
        corrected = nats + (occur - pairs - 1) / (2 * n)
        return {
            "count": Named(state.images, ("class",)),
            "raw": Named(jnp.where(_some(images), nats / math.log(2), jnp.nan), dims, unit="bit"),
            "corrected": Named(jnp.where(_some(images), corrected / math.log(2), jnp.nan), dims, unit="bit"),
        }

    return classes._replace(finalize=finalize)


def _terms(p: Float[Array, "*dims"], q: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """p ln(p/q) - p + q, which is q where p is 0."""
    ratio = p / jnp.where(q > 0, q, 1)
    excess = jnp.where(ratio > 0.5, (p - q) / jnp.where(q > 0, q, 1), 0)
    near = q * ((1 + excess) * jnp.log1p(excess) - excess)
    far = p * jnp.log(jnp.where(ratio > 0, ratio, 1)) - p + q
    return jnp.maximum(jnp.where(ratio > 0.5, near, far), 0)


def _some(count: Counter) -> Array:
    return (count.high | count.low) > 0


def _sum(counts: Counter) -> Counter:
    """The sum over the first axis, exactly."""
    nothing = Counter.zeros(counts.shape[1:])
    return lax.scan(lambda total, one: (total.merge(one), None), nothing, counts)[0]


def _minus(larger: Counter, smaller: Counter) -> Counter:
    borrow = (larger.low < smaller.low).astype(jnp.uint32)
    return Counter(larger.high - smaller.high - borrow, larger.low - smaller.low)
