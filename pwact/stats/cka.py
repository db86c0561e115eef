"""Similarity of two sites: centred kernel alignment, linear."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.joint import Joint, JointState, frobenius
from pwact.core.memory import memoized
from pwact.core.positions import MEANING, as_samples, known_positions, pair_shapes
from pwact.types import Observation


@memoized
def cka(*, positions: str = "mean") -> Accumulator:
    """How alike two sites tell images apart, whatever the rotation and scale of their features: linear CKA.

    CKA = |C_xy|_F^2 / (|C_xx|_F |C_yy|_F),   C_xy = sum_i (x_i - mean x)(y_i - mean y)^T

    Exact over the whole dataset: the products of features are summed up, not a mean over mini-batches,
    which is another number. Biased like the original: with n samples of p and q independent features it
    is near sqrt(p q) / n rather than 0. With u = 2^-24 and N samples an update the error of sqrt(CKA) is
    at most about 8 N u (p q)^(1/4), whatever the number of updates; in practice near sqrt(N) u. NumPy in
    float64, with the n x n kernels, is the reference.

    Args:
        positions: "mean": an image is a sample, its features are its channels' means over positions, of any
            two sites; "flat", the original's: an image is a sample, its features are all its points, of sites
            of at most 8,192; where both have the same rows and columns also "pooled": every position of
            every image is a sample of its channels, and "each": a value at each position, over images.

    Returns:
        A pairwise accumulator with results `count` (int64, samples) and `cka` (float32, 0 to 1, [], or
        [row, column] for "each" position of maps). NaN where one of the two does not vary or nothing was
        seen. Too large for float32: inf.

    Raises:
        PwactError: unknown positions; (by `init`) an activation is neither a map nor a vector, or not of
            floating-point numbers; the two differ in rows and columns where these are compared; one has
            too many points for "flat".

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import cka
        >>> from pwact.types import Observation
        >>> acc = cka()
        >>> x, zero = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), jnp.zeros(3, int)
        >>> specs = (jax.ShapeDtypeStruct((2,), x.dtype),) * 2
        >>> seen = Observation((x, 5 * x[:, ::-1]), zero, zero, jnp.arange(3), jnp.ones(3, bool))
        >>> round(float(acc.finalize(acc.update(acc.init(specs), seen))["cka"].values), 5)
        1.0

    Reference: Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited"
        (ICML 2019). Reconstructed from the formulas.
    """
    positions = known_positions(positions, tuple(MEANING))
    joint = Joint(((0, 1), (0, 0), (1, 1)), averaged=positions == "mean")

    def init(specs: Any) -> JointState:
        shapes = pair_shapes(specs, positions, "cka")
        return joint.init(shapes, jnp.promote_types(*map(float_dtype, specs)))

    def update(state: JointState, seen: Observation) -> JointState:
        sets = tuple(as_samples(activation, positions) for activation in seen.activation)
        return joint.update(state, sets, seen.valid)

    def finalize(state: JointState) -> Result:
        across, one, other = map(frobenius, joint.covariances(state))
        # Quotients of norms rather than of squares, which leave the range of float32 sooner.
        value = jnp.minimum((across / one) * (across / other), 1)
        overflow = jnp.isinf(across) | jnp.isinf(one) | jnp.isinf(other)
        value = jnp.where((one > 0) & (other > 0), jnp.where(overflow, jnp.inf, value), jnp.nan)
        return {
            "count": Named(state.samples, ()),
            "cka": Named(value, point_dims(value.ndim + 1)[:-1]),
        }

    return Accumulator(init, update, joint.merge, finalize, pairwise=True)
