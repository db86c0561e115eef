"""Dependence between two sites: the Hilbert-Schmidt independence criterion, linear."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.joint import Joint, JointState, frobenius
from pwact.core.memory import memoized
from pwact.core.positions import MEANING, as_samples, known_positions, pair_shapes
from pwact.types import Observation


@memoized
def hsic(*, positions: str = "mean") -> Accumulator:
    """How much two sites vary together: HSIC with linear kernels, the biased estimator.

    HSIC = trace(K H L H) / (n - 1)^2 = |sum_i (x_i - mean x)(y_i - mean y)^T|_F^2 / (n - 1)^2
    with K = X X^T, L = Y Y^T, H = I - 1/n

    Exact over the whole dataset: the products of features are summed up, never n x n kernels nor a mean
    of mini-batches. In the square of the activations' units twice over. With u = 2^-24 and N samples an
    update the error of sqrt(HSIC) is at most about 4 N u sqrt(v_x v_y), v the sum of a site's variances,
    whatever the number of updates; in practice near sqrt(N) u of the same. NumPy in float64, with the n x n
    kernels, is the reference.

    Args:
        positions: "mean": an image is a sample, its features are its channels' means over positions, of any
            two sites; "flat": an image is a sample, its features are all its points, of sites of at
            most 8,192; where both have the same rows and columns also "pooled": every position of
            every image is a sample of its channels, and "each": a value at each position, over images.

    Returns:
        A pairwise accumulator with results `count` (int64, samples) and `hsic` (float32, [], or [row, column]
        for "each" position of maps). Fewer than two samples: NaN. Too large for float32: inf.

    Raises:
        PwactError: unknown positions; (by `init`) an activation is neither a map nor a vector, or not of
            floating-point numbers; the two differ in rows and columns where these are compared; one has
            too many points for "flat".

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import hsic
        >>> from pwact.types import Observation
        >>> acc = hsic()
        >>> x, y, zero = jnp.array([[1.0], [3.0]]), jnp.array([[8.0], [4.0]]), jnp.zeros(2, int)
        >>> specs = (jax.ShapeDtypeStruct((1,), x.dtype),) * 2
        >>> seen = Observation((x, y), zero, zero, jnp.arange(2), jnp.ones(2, bool))
        >>> float(acc.finalize(acc.update(acc.init(specs), seen))["hsic"].values)
        16.0

    Reference: Gretton, Bousquet, Smola, Schoelkopf, "Measuring statistical dependence with Hilbert-Schmidt
        norms" (ALT 2005). Reconstructed from the formulas.
    """
    positions = known_positions(positions, tuple(MEANING))
    joint = Joint(((0, 1),), averaged=positions == "mean")

    def init(specs: Any) -> JointState:
        shapes = pair_shapes(specs, positions, "hsic")
        return joint.init(shapes, jnp.promote_types(*map(float_dtype, specs)))

    def update(state: JointState, seen: Observation) -> JointState:
        sets = tuple(as_samples(activation, positions) for activation in seen.activation)
        return joint.update(state, sets, seen.valid)

    def finalize(state: JointState) -> Result:
        (covariance,) = joint.covariances(state)
        n = state.samples.to_float()
        value = jnp.square(frobenius(covariance) * (n / jnp.maximum(n - 1, 1)))
        return {
            "count": Named(state.samples, ()),
            "hsic": Named(jnp.where(n > 1, value, jnp.nan), point_dims(covariance.ndim - 1)[:-1]),
        }

    return Accumulator(init, update, joint.merge, finalize, pairwise=True)
