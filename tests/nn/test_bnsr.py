"""BNSR against scipy's skewness, closed forms and flax's BatchNorm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
from flax import nnx

from pwact.nn.norms import bnsr
from pwact.nn.norms.bnsr import NORMAL, Moments, solved, third_moment

E = np.e
EXPONENTIAL = Moments(1 / E, 2 / E, 1 - 2 / E, 6 / E, 6 / E - 2)
"""Of an exponential variable less its mean; n2 and n3 by integration below."""


def module(channels, **options):
    return bnsr(**options).layer(channels, nnx.Rngs(0))


def columns(*each):
    """Samples [point, channel] as a map [batch, row, column, channel]."""
    return jnp.asarray(np.stack(each, -1).reshape(-1, 4, 4, len(each)), jnp.float32)


def skew(y):
    return scipy.stats.skew(np.asarray(y, np.float64).reshape(-1, y.shape[-1]), axis=0)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(5)
    n = 16 * 400
    return columns(
        rng.exponential(size=n), rng.normal(size=n), -rng.gamma(3, size=n), rng.lognormal(0, 0.3, size=n)
    )


def test_the_closed_moments_are_those_of_the_exponential_distribution():
    def part(sign, power):
        def density(z):
            return max(sign * z, 0) ** power * np.exp(-(z + 1))

        return scipy.integrate.quad(density, -1, 60, points=[0.0])[0]

    exact = [part(1, 1), part(1, 2), part(-1, 2), part(1, 3), part(-1, 3)]
    np.testing.assert_allclose(EXPONENTIAL, exact, rtol=1e-9)


def half_normal():
    """Partial moments of |N(0, 1)|, standardised, by integration."""
    mean, deviation = np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)

    def part(sign, power):
        def density(x):
            return max(sign * (x - mean) / deviation, 0) ** power * 2 * scipy.stats.norm.pdf(x)

        return scipy.integrate.quad(density, 0, 12, points=[mean])[0]

    return Moments(part(1, 1), part(1, 2), part(-1, 2), part(1, 3), part(-1, 3))


def test_ratios_of_known_distributions():
    # The half-normal's by a root finder on the integrals.
    half = half_normal()
    root = scipy.optimize.brentq(lambda ratio: third_moment(half, ratio), 0.1, 10)
    assert root == pytest.approx(0.3416, abs=1e-3)
    for ratio, moments in {0.1403: EXPONENTIAL, root: half}.items():
        found = solved(Moments(*(jnp.array([value], jnp.float32) for value in moments)))
        np.testing.assert_allclose(found, ratio, atol=5e-4)
    symmetric = solved(Moments(*(jnp.array([value], jnp.float32) for value in NORMAL)))
    np.testing.assert_allclose(symmetric, 1, atol=1e-6)


def test_the_polynomial_is_the_third_central_moment():
    z = np.random.default_rng(0).gamma(2, size=10_000)
    z = (z - z.mean()) / z.std()
    moments = Moments(*_of_sample(z))
    for ratio in (0.1, 0.7, 1.0, 3.0, 10.0):
        u = np.where(z > 0, ratio * z, z)
        exact = ((u - u.mean()) ** 3).mean()
        np.testing.assert_allclose(third_moment(moments, ratio), exact, rtol=1e-9, atol=1e-9)


def _of_sample(x):
    z = (x - x.mean()) / x.std()
    up, down = np.maximum(z, 0), np.maximum(-z, 0)
    return up.mean(), (up**2).mean(), (down**2).mean(), (up**3).mean(), (down**3).mean()


def test_skewness_is_gone_in_float32_and_in_float64(samples):
    assert (np.abs(skew(samples))[[0, 2, 3]] > 0.8).all()
    y = module(4)(samples)
    # Moments of 6,400 numbers in float32.
    np.testing.assert_allclose(skew(y), 0, atol=2e-5)
    with jax.enable_x64(True):
        layer = module(4)
        wide = layer(jnp.asarray(np.asarray(samples), jnp.float64))
        assert wide.dtype == jnp.float64
        np.testing.assert_allclose(skew(wide), 0, atol=1e-6)
        np.testing.assert_allclose(wide.mean((0, 1, 2)), 0, atol=1e-9)
        np.testing.assert_allclose(wide.var((0, 1, 2)), 1, atol=3e-4)  # epsilon, at a variance of .1
    np.testing.assert_allclose(y, wide, atol=1e-4)


def test_an_affine_change_changes_nothing_and_a_reflection_only_the_sign(samples):
    y = module(4, epsilon=1e-9)(samples)
    # Values up to 8, from moments in float32.
    np.testing.assert_allclose(module(4, epsilon=1e-9)(3 * samples + 2), y, atol=2e-4)
    np.testing.assert_allclose(module(4, epsilon=1e-9)(-samples), -y, atol=2e-4)
    moments = Moments(*(jnp.array([value], jnp.float32) for value in EXPONENTIAL))
    turned = Moments(moments.m, moments.n2, moments.p2, moments.n3, moments.p3)
    np.testing.assert_allclose(solved(moments) * solved(turned), 1, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_with_a_ratio_of_one_it_is_batch_normalisation(samples, scale):
    """In training, in what it remembers, and in evaluation."""
    layer, plain = module(4, min_count=10**6), nnx.BatchNorm(4, momentum=0.9, rngs=nnx.Rngs(0))
    x = scale * samples
    for _ in range(3):
        y, wanted = layer(x), plain(x)
        np.testing.assert_allclose(y, wanted, atol=1e-6 * np.abs(wanted).max(), rtol=1e-5)
    np.testing.assert_allclose(layer.var[...], plain.var[...], rtol=1e-5)
    np.testing.assert_allclose(layer.mean[...], plain.mean[...], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moments[...], np.array(NORMAL)[:, None].repeat(4, 1), rtol=1e-6)
    layer.eval(), plain.eval()
    np.testing.assert_allclose(layer(x), plain(x), atol=2e-6 * np.abs(plain(x)).max(), rtol=1e-5)


def test_masked_entries_enter_no_moment(samples):
    first = samples[:200]
    padded = jnp.concatenate([first, jnp.full((50, 4, 4, 4), jnp.nan)])
    layer, alone = module(4), module(4)
    y, wanted = layer(padded, mask=jnp.arange(250) < 200), alone(first)
    np.testing.assert_allclose(y[:200], wanted, atol=1e-5)
    for name in ("mean", "var", "moments"):
        np.testing.assert_allclose(getattr(layer, name)[...], getattr(alone, name)[...], rtol=1e-5, atol=1e-6)
    fresh = module(4)
    fresh(padded, mask=jnp.zeros(250, bool))
    np.testing.assert_array_equal(fresh.var[...], jnp.ones(4))


def test_a_constant_channel_is_finite_and_its_ratio_is_one():
    x = columns(np.zeros(1600), np.full(1600, 0.1), np.random.default_rng(0).exponential(size=1600))
    y = module(3)(x)
    np.testing.assert_allclose(y[..., :2], 0, atol=1e-3)
    slope = jax.grad(lambda x: jnp.sin(module(3)(x)).sum())(x)
    assert np.isfinite(slope).all()
    assert solved(Moments(*jnp.zeros((5, 1)))) == 1


def test_without_a_root_it_is_the_end_where_skewness_is_less():
    """A spike at the bottom, as behind a ReLU that few points pass."""
    x = np.zeros(16_000)
    x[:40] = np.random.default_rng(0).exponential(size=40)
    y = module(1)(columns(x))
    assert 0 < skew(y)[0] < skew(columns(x))[0]
    z = (x - x.mean()) / x.std()
    np.testing.assert_allclose(skew(y), scipy.stats.skew(np.where(z > 0, 0.1 * z, z)), rtol=1e-2)


def test_the_implicit_gradient_passes_through_the_root(samples):
    """Against central differences of the whole, root and all, in float64; without it r is a constant."""
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(samples[:40, :, :, :1]), jnp.float64)
        direction = jax.random.normal(jax.random.key(0), x.shape, jnp.float64)
        weight = jnp.sin(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)

        def value(x, implicit):
            return (weight * jnp.tanh(module(1, implicit=implicit)(x))).sum()

        step = 1e-5
        numeric = (value(x + step * direction, True) - value(x - step * direction, True)) / (2 * step)
        slopes = [float((jax.grad(value)(x, implicit) * direction).sum()) for implicit in (True, False)]
    assert slopes[0] == pytest.approx(float(numeric), rel=1e-5)
    assert abs(slopes[1] / float(numeric) - 1) > 1e-3
