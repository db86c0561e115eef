"""Dependence between two sites: the Hilbert-Schmidt independence criterion, linear."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.caching import memoized
from pwact.core.streaming.joint import Joint, frobenius
from pwact.core.streaming.positions import MEANING, as_samples, known_positions, pair_shapes
from pwact.core.streaming.quartic import Quartic, QuarticState
from pwact.types import Observation


@memoized
def hsic(*, positions: str = "mean") -> Accumulator:
    """How much two sites vary together: HSIC with linear kernels, the biased estimator and the unbiased one.

    hsic = trace(K H L H) / (n - 1)^2 = |C|_F^2 / (n - 1)^2,   C = sum_i (x_i - mean x)(y_i - mean y)^T
    unbiased = (|C|_F^2 - q n / (n - 2) + a b / ((n - 1) (n - 2))) / (n (n - 3))
    with K = X X^T, L = Y Y^T, H = I - 1/n, and of deviations a = sum |x|^2, b = sum |y|^2,
    q = sum |x|^2 |y|^2: what is left of the kernels without their diagonals

    Exact over the whole dataset: these sums are streamed, never n x n kernels nor a mean of mini-batches.
    With u = 2^-24, N samples an update and v = a / n, b / n, the sum of each site's variances, the error
    of sqrt(hsic) is at most about 4 N u sqrt(v_x v_y), and that of `unbiased` 16 N u v_x v_y, whatever the
    number of updates; in practice near sqrt(N) u of these. For "mean" N counts points, and v is
    that of points. NumPy in float64, with n x n kernels, is the reference.

    Args:
        positions: "mean": an image is a sample, its features are its channels' means over positions, of any
            two sites; "flat": an image is a sample, its features are all its points, of sites of at
            most 8,192; where both have the same rows and columns also "pooled": every position of
            every image is a sample of its channels, and "each": a value at each position, over images.

    Returns:
        A pairwise accumulator with results `count` (int64, samples), `hsic` and `unbiased` (float32, [], or
        [row, column] for "each" position of maps; the products of both activations' units, squared).
        Fewer than two samples, or four for `unbiased`: NaN. Too large for float32: `hsic` is inf,
        `unbiased`, whose sums leave its range sooner (v_x v_y below 1e-30 also), NaN.

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
        norms" (ALT 2005); Song, Smola, Gretton, Bedo, Borgwardt, "Feature selection via dependence
        maximization" (JMLR 2012) for the unbiased one. Reconstructed from the formulas.
    """
    positions = known_positions(positions, tuple(MEANING))
    sums = Quartic(Joint(((0, 1),), averaged=positions == "mean"))

    def init(specs: Any) -> QuarticState:
        shapes = pair_shapes(specs, positions, "hsic")
        return sums.init(shapes, jnp.promote_types(*map(float_dtype, specs)))

    def update(state: QuarticState, seen: Observation) -> QuarticState:
        sets = tuple(as_samples(activation, positions) for activation in seen.activation)
        return sums.update(state, sets, seen.valid)

    def finalize(state: QuarticState) -> Result:
        (covariance,), n = sums.joint.covariances(state.joint), state.joint.samples.to_float()
        value = jnp.square(frobenius(covariance) * (n / jnp.maximum(n - 1, 1)))
        own, other = sums.variances(state)
        (share,) = sums.dependence(state)
        unbiased = jnp.where((n > 3) & ((own == 0) | (other == 0)), 0, share * own * other)
        where = point_dims(value.ndim + 1)[:-1]
        return {
            "count": Named(state.joint.samples, ()),
            "hsic": Named(jnp.where(n > 1, value, jnp.nan), where),
            "unbiased": Named(unbiased, where),
        }

    return Accumulator(init, update, sums.merge, finalize, pairwise=True)
