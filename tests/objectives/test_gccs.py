"""The Gaussian loss against divergences that others compute, and at its own optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from pwact.errors import PwactError
from pwact.objectives import gccs

CLASSES, MEAN, DEVIATION = 3, 10.0, 2.0


def cloud(seed: int, count: int = 60) -> np.ndarray:
    """Correlated points of class 1, near its vertex."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(CLASSES, CLASSES))
    return rng.normal(size=(count, CLASSES)) @ mixing + MEAN * np.eye(CLASSES)[1] + 0.5


def loss_of(method, z, label, step=0):
    return method.loss(jnp.float32(z), jnp.int32(label), jnp.ones(len(z), bool), jnp.int32(step))


def moments(z):
    return z.mean(0), np.cov(z.T, bias=True)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_it_is_the_divergence_that_a_monte_carlo_of_scipy_finds(covariance):
    z = cloud(0)
    centre, spread = moments(z)
    if covariance == "diag":
        spread = np.diag(np.diag(spread))
    own = multivariate_normal(centre, spread)
    target = multivariate_normal(MEAN * np.eye(CLASSES)[1], DEVIATION**2 * np.eye(CLASSES))
    sample = own.rvs(400_000, random_state=1)
    ratio = own.logpdf(sample) - target.logpdf(sample)
    error = ratio.std() / np.sqrt(len(ratio))
    method = gccs(mean=MEAN, deviation=DEVIATION, kurtosis=0.0, covariance=covariance, epsilon=1e-7)
    assert error < 0.01
    assert abs(float(loss_of(method, z, [1] * len(z))) - ratio.mean()) < 5 * error


def test_it_is_the_divergence_that_torch_computes():
    torch = pytest.importorskip("torch")
    z = cloud(3)
    centre, spread = (torch.tensor(part) for part in moments(z))
    unit = torch.eye(CLASSES, dtype=torch.float64)
    own = torch.distributions.MultivariateNormal(centre, spread)
    target = torch.distributions.MultivariateNormal(MEAN * unit[1], DEVIATION**2 * unit)
    wanted = float(torch.distributions.kl_divergence(own, target))
    method = gccs(mean=MEAN, deviation=DEVIATION, kurtosis=0.0, covariance="full", epsilon=1e-7)
    np.testing.assert_allclose(loss_of(method, z, [1] * len(z)), wanted, rtol=1e-4)


def test_diagonal_and_full_agree_where_features_do_not_correlate():
    z = cloud(5)
    centre, spread = moments(z)
    white = (z - centre) @ np.linalg.inv(np.linalg.cholesky(spread)).T * np.array([0.5, 1.0, 3.0]) + centre
    label = [1] * len(z)
    # Factors of a Cholesky decomposition in float32, of numbers around ten.
    np.testing.assert_allclose(
        loss_of(gccs(), white, label), loss_of(gccs(covariance="full"), white, label), rtol=1e-4
    )
    assert abs(loss_of(gccs(), z, label) - loss_of(gccs(covariance="full"), z, label)) > 0.1


def at_target() -> tuple[np.ndarray, np.ndarray]:
    """Two classes of 16 points with exactly the target's mean, variances, covariance 0 and kurtosis 3.

    A coordinate is 0, or ± sqrt(3) with weight 1/6 each: three of a Gaussian's moments. Of its grid of 9, 36
    points have the right multiplicities.
    """
    values = np.sqrt(3) * np.array([-1, 0, 0, 0, 0, 1])
    grid = np.array([(a, b) for a in values for b in values])
    z = np.concatenate([grid + MEAN * np.eye(2)[0], grid + MEAN * np.eye(2)[1]])
    return z, np.repeat([0, 1], len(grid))


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_at_the_target_moments_value_and_gradient_are_zero(covariance):
    z, label = at_target()
    method = gccs(mean=MEAN, ramp=(0, 0), covariance=covariance, epsilon=1e-6)
    value, slope = jax.value_and_grad(method.loss)(
        jnp.float32(z), jnp.int32(label), jnp.ones(len(z), bool), jnp.int32(1)
    )
    # Sums in float32 of numbers around ten: 1e-6 of them.
    assert abs(value) < 1e-5
    assert np.abs(slope).max() < 1e-6
    off = jax.grad(method.loss)(jnp.float32(z + 0.5), jnp.int32(label), jnp.ones(len(z), bool), jnp.int32(1))
    assert np.abs(off).max() > 1e-3


def test_epsilon_moves_the_optimum_by_no_more_than_itself():
    z, label = at_target()
    value = loss_of(gccs(mean=MEAN, kurtosis=0.0, epsilon=1e-2), z, label)
    np.testing.assert_allclose(value, -0.5 * 2 * np.log1p(1e-2), rtol=1e-3)


@pytest.mark.parametrize(("step", "share"), [(0, 0), (10, 0), (15, 0.5), (20, 1), (99, 1)])
def test_the_kurtosis_weight_rises_along_the_ramp(step, share):
    z, label = cloud(7), [1] * 60
    without = loss_of(gccs(kurtosis=0.0), z, label)
    whole = loss_of(gccs(kurtosis=0.5, ramp=(0, 0)), z, label) - without
    assert whole > 0.01
    found = loss_of(gccs(kurtosis=0.5, ramp=(10, 20)), z, label, step) - without
    np.testing.assert_allclose(found, share * whole, rtol=1e-3, atol=1e-5)


def test_classes_with_too_few_images_are_left_out_and_have_no_gradient():
    z = np.concatenate([cloud(9), cloud(10)[:3]])
    label = jnp.int32([1] * 60 + [0] * 3)
    value, slope = jax.value_and_grad(gccs(minimum=4).loss)(
        jnp.float32(z), label, jnp.ones(len(z), bool), jnp.int32(0)
    )
    np.testing.assert_allclose(value, loss_of(gccs(), cloud(9), [1] * 60), rtol=1e-5)
    assert np.isfinite(slope).all() and not slope[60:].any() and slope[:60].any()
    assert loss_of(gccs(minimum=3), z, label) != value


def test_a_full_covariance_needs_more_images_than_classes():
    z, label = cloud(11)[:4], jnp.int32([1] * 4)
    assert loss_of(gccs(covariance="full", minimum=2), z, label) > 0
    few = jnp.concatenate([jnp.float32(z[:3]), jnp.float32(z[:1])])
    assert loss_of(gccs(covariance="full", minimum=2), few, jnp.int32([1, 1, 1, 0])) == 0


@pytest.mark.parametrize(
    ("method", "images"), [(gccs(minimum=4), 3), (gccs(covariance="full", minimum=2), 3)]
)
def test_a_batch_in_which_no_class_can_count_is_refused(method, images):
    with pytest.raises(PwactError, match="batch"):
        loss_of(method, cloud(0)[:images], [1] * images)


def test_a_class_of_one_point_has_a_finite_loss():
    """All variances 0: the logarithm is that of epsilon."""
    z = np.tile(MEAN * np.eye(CLASSES)[1], (8, 1))
    for covariance in ("diag", "full"):
        method = gccs(mean=MEAN, kurtosis=0.0, covariance=covariance, epsilon=1e-4)
        value, slope = jax.value_and_grad(method.loss)(
            jnp.float32(z), jnp.int32([1] * 8), jnp.ones(8, bool), jnp.int32(0)
        )
        np.testing.assert_allclose(value, 0.5 * CLASSES * (-1 - np.log(1e-4)), rtol=1e-5)
        assert np.isfinite(slope).all()
