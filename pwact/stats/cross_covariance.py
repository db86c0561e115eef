"""Covariance and correlation between the channels of two sites."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.joint import Joint, JointState, correlation
from pwact.core.streaming.positions import as_samples, known_positions, pair_shapes
from pwact.types import Observation


@memoized
def cross_covariance(*, positions: str = "mean") -> Accumulator:
    """The (population) covariance and correlation of each channel of one site with each of another.

    covariance_jk = sum_i (x_ij - mean x_j)(y_ik - mean y_k) / n
    correlation_jk = covariance_jk / sqrt(variance x_j  variance y_k)

    One matrix product a batch. With u = 2^-24 and N samples an update, whatever the number of updates and
    offsets of channels, the error of covariance_jk is at most about 4 N u sqrt(variance x_j variance y_k),
    and that of the correlation 8 N u; in practice both stay near sqrt(N) u of the same. For "mean" N counts
    points, and the first bound holds with the variances of points. NumPy in float64 is the reference.

    Args:
        positions: "mean": an image is a sample of its channels' means over positions, of any two sites;
            where both have the same rows and columns also "pooled": every position of every image is a
            sample, and "each": a matrix at each position, over images.

    Returns:
        A pairwise accumulator with results `count` (int64, samples), `covariance` and `correlation`, float32
        [channel, other_channel]: the first site's, the second's; with `row` and `column` in front for "each"
        position of maps. A channel that does not vary has correlation NaN (one whose means vary by their
        rounding alone has some). Nothing seen: count 0, the others NaN. Too large for float32: inf.

    Raises:
        PwactError: unknown positions; (by `init`) an activation is neither a map nor a vector, or not of
            floating-point numbers, or the two differ in rows and columns where these are compared.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import cross_covariance
        >>> from pwact.types import Observation
        >>> acc = cross_covariance()
        >>> x, y, zero = jnp.array([[1.0], [3.0]]), jnp.array([[8.0, 1.0], [4.0, 1.0]]), jnp.zeros(2, int)
        >>> specs = jax.ShapeDtypeStruct((1,), x.dtype), jax.ShapeDtypeStruct((2,), y.dtype)
        >>> seen = Observation((x, y), zero, zero, jnp.arange(2), jnp.ones(2, bool))
        >>> acc.finalize(acc.update(acc.init(specs), seen))["covariance"].values.tolist()
        [[-2.0, 0.0]]

    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983), for products of two variables. Reconstructed from the formulas.
    """
    positions = known_positions(positions, ("mean", "pooled", "each"))
    joint = Joint(((0, 1),), squares=(0, 1), averaged=positions == "mean")

    def init(specs: Any) -> JointState:
        shapes = pair_shapes(specs, positions, "cross_covariance")
        return joint.init(shapes, jnp.promote_types(*map(float_dtype, specs)))

    def update(state: JointState, seen: Observation) -> JointState:
        sets = tuple(as_samples(activation, positions) for activation in seen.activation)
        return joint.update(state, sets, seen.valid)

    def finalize(state: JointState) -> Result:
        covariance, own, other = joint.covariances(state)
        dims = (*point_dims(own.ndim), "other_channel")
        return {
            "count": Named(state.samples, ()),
            "covariance": Named(covariance, dims),
            "correlation": Named(correlation(covariance, own, other), dims),
        }

    return Accumulator(init, update, joint.merge, finalize, pairwise=True)
