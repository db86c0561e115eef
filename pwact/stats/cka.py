"""Similarity of two sites: centred kernel alignment, linear."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.joint import Joint, frobenius
from pwact.core.streaming.positions import MEANING, as_samples, known_positions, pair_shapes
from pwact.core.streaming.quartic import Quartic, QuarticState
from pwact.types import Observation

ROUNDING = 1e-5
"""Of H_xx over the squared sum of variances, which is 1 / p or more of p features: what is less is noise."""


@memoized
def cka(*, positions: str = "mean") -> Accumulator:
    """How alike two sites tell images apart, whatever the rotation and scale of their features: linear CKA.

    cka = |C_xy|_F^2 / (|C_xx|_F |C_yy|_F),   C_xy = sum_i (x_i - mean x)(y_i - mean y)^T
    debiased = H_xy / sqrt(H_xx H_yy),   H the unbiased estimator of `hsic`

    Exact over the whole dataset: the sums are streamed, never n x n kernels nor a mean over mini-batches,
    which is another number. `cka` is biased: with n samples of p and q independent features it is near
    sqrt(p q) / n rather than 0, where `debiased` is 0 on average; they agree where n is large. With
    u = 2^-24 and N samples an update the error of sqrt(cka) is at most about 8 N u (p q)^(1/4), and that of
    `debiased` 32 N u sqrt(p q), whatever the number of updates; in practice near sqrt(N) u of these. For
    "mean" N counts points, and both bounds grow by how much more points vary than means. NumPy in
    float64, with n x n kernels, is the reference.

    Args:
        positions: "mean": an image is a sample, its features are its channels' means over positions, of any
            two sites; "flat", the original's: an image is a sample, its features are all its points, of sites
            of at most 8,192; where both have the same rows and columns also "pooled": every position of
            every image is a sample of its channels, and "each": a value at each position, over images.

    Returns:
        A pairwise accumulator with results `count` (int64, samples), `cka` (0 to 1) and `debiased` (-1 to 1),
        float32, [], or [row, column] for "each" position of maps. NaN where one of the two does not vary, or
        nothing was seen, or fewer than four samples for `debiased`. Too large for float32: `cka` is inf,
        `debiased`, whose sums leave its range sooner (variances below 1e-15 also), NaN.

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
        (ICML 2019); without bias as in Nguyen, Raghu, Kornblith, "Do wide and deep networks learn the same
        things?" (ICLR 2021), who average it over mini-batches. Reconstructed from the formulas.
    """
    positions = known_positions(positions, tuple(MEANING))
    sums = Quartic(Joint(((0, 1), (0, 0), (1, 1)), averaged=positions == "mean"))

    def init(specs: Any) -> QuarticState:
        shapes = pair_shapes(specs, positions, "cka")
        return sums.init(shapes, jnp.promote_types(*map(float_dtype, specs)))

    def update(state: QuarticState, seen: Observation) -> QuarticState:
        sets = tuple(as_samples(activation, positions) for activation in seen.activation)
        return sums.update(state, sets, seen.valid)

    def finalize(state: QuarticState) -> Result:
        across, one, other = map(frobenius, sums.joint.covariances(state.joint))
        # Quotients of norms rather than of squares, which leave the range of float32 sooner.
        value = jnp.minimum((across / one) * (across / other), 1)
        overflow = jnp.isinf(across) | jnp.isinf(one) | jnp.isinf(other)
        value = jnp.where((one > 0) & (other > 0), jnp.where(overflow, jnp.inf, value), jnp.nan)
        h_across, h_one, h_other = sums.dependence(state)
        known = (h_one > ROUNDING) & (h_other > ROUNDING)
        debiased = jnp.clip(h_across / jnp.sqrt(h_one) / jnp.sqrt(h_other), -1, 1)
        where = point_dims(value.ndim + 1)[:-1]
        return {
            "count": Named(state.joint.samples, ()),
            "cka": Named(value, where),
            "debiased": Named(jnp.where(known, debiased, jnp.nan), where),
        }

    return Accumulator(init, update, sums.merge, finalize, pairwise=True)
