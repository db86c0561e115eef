import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.studies.config import ConcentrationRule
from pwact.studies.contribution import contributions, gini, hoyer, k90, lorenz


def head(channels=5, classes=4, points=(3, 6), batch=7, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    last = jax.random.normal(keys[0], (batch, *points, channels))
    kernel = jax.random.normal(keys[1], (channels, classes))
    bias = jax.random.normal(keys[2], (classes,))
    return last, last.mean((1, 2)) @ kernel + bias[None], kernel, bias


def test_contributions_against_float64():
    last, logits, kernel, bias = head()
    got = contributions(last, logits, kernel, bias)
    a, w, b = (np.asarray(each, np.float64) for each in (last, kernel, bias))
    z = a.mean((1, 2)) @ w + b
    order = z.argsort(1)
    first, second = order[:, -1], order[:, -2]
    assert np.array_equal(got.decision, first) and np.array_equal(got.runner_up, second)
    for n in range(len(a)):
        c = a[n] @ (w[:, first[n]] - w[:, second[n]]) / 18
        # float32 products of 5 terms of size 1 over 18 points: 1e-6 is ten roundings.
        assert np.allclose(got.point[n], c, atol=1e-6)
        assert np.isclose(c.sum() + b[first[n]] - b[second[n]], z[n, first[n]] - z[n, second[n]])
    assert float(got.error.max()) < 1e-6


def test_another_head_is_noticed():
    last, logits, kernel, bias = head()
    assert (
        float(contributions(last, logits, kernel[:, ::-1], bias).error.max())
        > ConcentrationRule().margin_error
    )
    assert (
        float(contributions(last, logits, kernel, bias + jnp.arange(4.0)).error.max())
        > ConcentrationRule().margin_error
    )
    assert float(contributions(2 * last, logits, kernel, bias).error.max()) > ConcentrationRule().margin_error


def equal_points(k, total=49):
    return jnp.where(jnp.arange(total) < k, 3.7, 0.0)[None]


@pytest.mark.parametrize("k", [1, 5, 10, 49])
def test_k_equal_points_closed_forms(k):
    c, total = equal_points(k), 49
    # float32 sums of 49 terms: 1e-6.
    assert float(gini(c)[0]) == pytest.approx(1 - k / total, abs=1e-6)
    assert float(hoyer(c)[0]) == pytest.approx((7 - np.sqrt(k)) / 6, abs=1e-6)
    assert float(k90(c)[0]) == pytest.approx(np.ceil(0.9 * k) / total, abs=1e-6)


def test_linear_ramp_closed_forms():
    total = 100
    ramp = jnp.arange(1.0, total + 1)[None]
    assert float(gini(ramp)[0]) == pytest.approx((total - 1) / (3 * total), abs=1e-6)
    norms = np.sqrt(3 * total * (total + 1) / (2 * (2 * total + 1)))
    assert float(hoyer(ramp)[0]) == pytest.approx((10 - norms) / 9, abs=1e-6)
    curve = np.asarray(lorenz(ramp))[0]
    i = np.arange(total + 1)
    assert np.allclose(curve, i * (i + 1) / (total * (total + 1)), atol=1e-6)


def test_gini_is_the_area_under_the_lorenz_curve_and_the_mean_difference():
    c = jnp.asarray(np.random.default_rng(0).gamma(0.5, size=(4, 30)), jnp.float32)
    curve = np.asarray(lorenz(c), np.float64)
    area = (curve[:, 1:] + curve[:, :-1]).sum(1) / 2 / 30
    assert np.allclose(gini(c), 1 - 2 * area, atol=1e-5)
    x = np.asarray(c, np.float64)
    difference = np.abs(x[:, :, None] - x[:, None, :]).mean((1, 2))
    assert np.allclose(gini(c), difference / (2 * x.mean(1)), atol=1e-5)


def test_scale_and_order_do_not_matter():
    c = jnp.asarray(np.random.default_rng(1).gamma(0.5, size=(3, 30)), jnp.float32)
    shuffled = 1000 * c[:, np.random.default_rng(2).permutation(30)]
    for index in (gini, hoyer, k90):
        assert np.allclose(index(c), index(shuffled), atol=1e-5)


def test_no_positive_contribution_is_undefined():
    nothing = jnp.zeros((2, 9))
    for index in (gini, hoyer, k90):
        assert np.isnan(np.asarray(index(nothing))).all()
    assert np.isnan(np.asarray(lorenz(nothing))).all()
