"""Covariance of channels and of two sites against float64 NumPy, where float32 loses digits easily."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import by_class, covariance, cross_covariance

from .streams import accumulate

UNIT = 2.0**-24
MAP = jax.ShapeDtypeStruct((4, 5, 3), jnp.float32)


def exact(x, y):
    x, y = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    together = x.T @ y / len(x)
    scale = np.sqrt((x**2).mean(0)[:, None] * (y**2).mean(0))
    return together, scale


STREAMS = {
    "offset": lambda rng, n: 1e6 + rng.uniform(-1, 1, (n, 4, 4, 3)),
    "first point far away": lambda rng, n: np.where(
        np.arange(n * 48).reshape(n, 4, 4, 3) < 3, 1e6, rng.normal(size=(n, 4, 4, 3))
    ),
    "fires once": lambda rng, n: np.where(np.arange(n * 48).reshape(n, 4, 4, 3) // 6 == 70, 5.0, 0.0),
    "drifts": lambda rng, n: np.linspace(0, 1e5, n)[:, None, None, None] + rng.normal(size=(n, 4, 4, 3)),
    "steps": lambda rng, n: (
        np.where(np.arange(n) < n // 2, -1e6, 1e6)[:, None, None, None] + rng.normal(size=(n, 4, 4, 3))
    ),
    "scales": lambda rng, n: rng.normal(size=(n, 4, 4, 3)) * [1e-12, 1.0, 1e12],
}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_stated_bound_holds_however_many_updates(stream):
    """8,192 images, 131,072 points, 1,024 updates of 128 samples; the scan and its state in float32."""
    images, batch = 8192, 8
    x = STREAMS[stream](np.random.default_rng(0), images).astype(np.float32)
    found = accumulate(covariance(), x, batch)
    together, scale = exact(x, x)
    bound = 4 * batch * 16 * UNIT
    assert found["count"] == images * 16
    assert (np.abs(found["covariance"] - together) <= bound * scale).all()
    assert (np.abs(found["correlation"] - together / scale) <= 2 * bound).all()
    assert (np.abs(found["correlation"]) <= 1).all()


def test_errors_do_not_grow_with_the_number_of_updates():
    """Sums over batches are in two parts: 32,768 updates err like 512, as sums of float32 would not."""
    x = (1e3 + np.random.default_rng(1).gamma(1.0, size=(65_536, 8))).astype(np.float32)
    errors = []
    for images in (1024, 65_536):
        together, scale = exact(x[:images], x[:images])
        found = accumulate(covariance(), x[:images], 2)["covariance"]
        errors.append(np.sqrt(np.mean(((found - together) / scale) ** 2)))
    assert max(errors) < 2 * UNIT


def test_each_position_on_its_own():
    x = np.random.default_rng(2).normal(size=(256, 4, 5, 3)).astype(np.float32)
    found = accumulate(covariance(positions="each"), x, 16)
    for row, column in ((0, 0), (3, 4)):
        one = accumulate(covariance(), x[:, row, column], 16)
        np.testing.assert_allclose(found["covariance"][row, column], one["covariance"], atol=64 * UNIT)
    dims = covariance(positions="each").finalize(covariance(positions="each").init(MAP))["covariance"].dims
    assert dims == ("row", "column", "channel", "other_channel")


def test_classes_far_apart_keep_their_own_covariance():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 4, 2048).astype(np.int32)
    x = (1e6 * label[:, None] + rng.normal(size=(2048, 3))).astype(np.float32)
    found = accumulate(by_class(covariance(), 5), x, 16, label)
    for c in range(4):
        together, scale = exact(x[label == c], x[label == c])
        assert (np.abs(found["covariance"][c] - together) <= 64 * UNIT * scale).all()
    assert found["count"][4] == 0 and np.isnan(found["covariance"][4]).all()


def test_a_channel_that_does_not_vary_has_covariance_zero_and_no_correlation():
    x = np.stack([np.full(64, 0.1), np.linspace(0, 1, 64)], -1).astype(np.float32)
    found = accumulate(covariance(), x, 8)
    assert (found["covariance"][0] == 0).all() and (found["covariance"][:, 0] == 0).all()
    assert np.isnan(found["correlation"]).tolist() == [[True, True], [True, False]]


def test_overflow_is_infinite_and_not_missing():
    x = np.array([[3e38, 0], [-3e38, 1], [0, 0], [0, 1]], np.float32)
    for acc, data in ((covariance(), x), (cross_covariance(), (x, x))):
        found = accumulate(acc, data, 2)
        assert np.isinf(found["covariance"][0, 0]) and np.isinf(found["correlation"][0, 0])
        assert found["covariance"][1, 1] == 0.25 and found["correlation"][1, 1] == 1


def test_half_precision_is_summed_in_float32():
    x = np.tile(np.array([[0.1, 1.0], [0.3, 3.0]], jnp.bfloat16), (2048, 1))
    found = accumulate(covariance(), x, 16)
    together, scale = exact(x, x)
    assert found["covariance"].dtype == np.float32
    assert (np.abs(found["covariance"] - together) <= 64 * UNIT * scale).all()


@pytest.mark.parametrize("positions", ["mean", "pooled"])
def test_two_sites_against_float64(positions):
    """131,072 points at offsets of 1e4, four of them to a mean or each on its own."""
    rng = np.random.default_rng(4)
    x = (1e4 + rng.normal(size=(32_768, 2, 2, 3))).astype(np.float32)
    y = (x[..., :1] * 2 - 1e4 + rng.normal(size=(32_768, 2, 2, 4))).astype(np.float32)
    found = accumulate(cross_covariance(positions=positions), (x, y), 16)
    if positions == "mean":
        x, y = (a.mean((1, 2), dtype=np.float64) for a in (x, y))
    together, scale = exact(x, y)
    assert found["count"] == len(x.reshape(-1, 3))
    assert (np.abs(found["covariance"] - together) <= 4 * 16 * 4 * UNIT * scale).all()
    assert (np.abs(found["correlation"] - together / scale) <= 8 * 16 * 4 * UNIT).all()


def test_means_over_positions_make_any_two_maps_comparable():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(64, 4, 5, 3)), rng.normal(size=(64, 2, 2, 6))
    found = accumulate(cross_covariance(), (x.astype(np.float32), y.astype(np.float32)), 8)
    together, _ = exact(x.mean((1, 2)), y.mean((1, 2)))
    np.testing.assert_allclose(found["covariance"], together, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: covariance(positions="mean"), "pooled, each; found 'mean'"),
        (lambda: covariance().init(jax.ShapeDtypeStruct((4, 5), jnp.float32)), "activation map"),
        (lambda: covariance().init(jax.ShapeDtypeStruct((4,), jnp.int32)), "floating-point"),
        (
            lambda: cross_covariance(positions="pooled").init((MAP, jax.ShapeDtypeStruct((3,), jnp.float32))),
            "same rows and columns .* \\[4, 5, 3\\] and \\[3\\]; write positions='mean'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PwactError, match=words):
        make()
