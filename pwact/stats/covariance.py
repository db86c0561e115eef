"""Covariance and correlation of channels."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.joint import Joint, JointState, correlation
from pwact.core.streaming.positions import as_samples, known_positions, sample_shape
from pwact.types import Observation

OWN = Joint(((0, 0),))


@memoized
def covariance(*, positions: str = "pooled") -> Accumulator:
    """The (population) covariance and correlation of every two channels.

    covariance_jk = sum_i (x_ij - mean_j)(x_ik - mean_k) / n
    correlation_jk = covariance_jk / sqrt(covariance_jj covariance_kk)

    One matrix product a batch. With u = 2^-24 and N samples an update, whatever the number of updates and
    offsets of channels, the error of covariance_jk is at most about
    4 N u sqrt(covariance_jj covariance_kk), and that of the correlation 8 N u; in practice both stay near
    sqrt(N) u of the same. NumPy in float64 is the reference. Products below 1.2e-38 are 0 on CPU, so
    deviations should be above 1e-19.

    Args:
        positions: "pooled": every position of every image is a sample; "each": a matrix at each position,
            over images.

    Returns:
        An accumulator with results `count` (int64, samples), `covariance` and `correlation`, float32
        [channel, other_channel], with `row` and `column` in front for "each" position of maps. A channel
        that does not vary has correlation NaN. Nothing seen: count 0, the others NaN. Too large for
        float32: NaN, and inf as a channel's own variance.

    Raises:
        PwactError: positions that are neither; (by `init`) the activation is neither a map nor a vector,
            or not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import covariance
        >>> from pwact.types import Observation
        >>> acc = covariance()
        >>> x, zero = jnp.array([[1.0, 8.0], [3.0, 4.0]]), jnp.zeros(2, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((2,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(2), jnp.ones(2, bool)))
        >>> acc.finalize(state)["covariance"].values.tolist()
        [[1.0, -2.0], [-2.0, 4.0]]

    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983), for products of two variables. Reconstructed from the formulas.
    """
    positions = known_positions(positions, ("pooled", "each"))

    def init(spec: jax.ShapeDtypeStruct) -> JointState:
        return OWN.init((sample_shape(spec, positions, "covariance"),), float_dtype(spec))

    def update(state: JointState, seen: Observation) -> JointState:
        return OWN.update(state, (as_samples(seen.activation, positions),), seen.valid)

    def finalize(state: JointState) -> Result:
        (covariance,) = OWN.covariances(state)
        own = jnp.diagonal(covariance, axis1=-2, axis2=-1)
        dims = (*point_dims(own.ndim), "other_channel")
        return {
            "count": Named(state.samples, ()),
            "covariance": Named(covariance, dims),
            "correlation": Named(correlation(covariance, own, own), dims),
        }

    # A matrix at each position is more to walk than the rows are.
    blockwise = in_blocks(update) if positions == "pooled" else update
    return Accumulator(init, blockwise, OWN.merge, finalize)
