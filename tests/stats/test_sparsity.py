"""Sparsity over images and over points, against the definitions in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError
from pwact.stats import (
    bottom_k,
    density,
    firing,
    lifetime_gini,
    lifetime_sparsity,
    moments,
    per_channel,
    population_gini,
    population_sparsity,
    top_k,
)

from . import passes
from .test_moments import UNIT, accumulate


def treves_rolls(x, axis):
    size, n = np.abs(x.astype(np.float64)), x.shape[axis]
    return (1 - size.mean(axis) ** 2 / (size**2).mean(axis)) / (1 - 1 / n)


def hoyer(x, axis):
    size, n = np.abs(x.astype(np.float64)), x.shape[axis]
    return (np.sqrt(n) - size.sum(axis) / np.sqrt((size**2).sum(axis))) / (np.sqrt(n) - 1)


def gini(x):
    size = np.sort(np.abs(x.astype(np.float64)), 1)
    weight = 2 * np.arange(1, x.shape[1] + 1) - x.shape[1] - 1
    return (weight * size).sum(1) / (x.shape[1] * size.sum(1))


LIVES = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "signed": lambda rng, n: rng.normal(size=n),
    "one in ten thousand": lambda rng, n: np.maximum(rng.normal(size=n) - 3.7, 0),
    "once": lambda rng, n: np.where(np.arange(n) == n // 2, 4.0, 0.0),
    "offset": lambda rng, n: 1e4 + rng.uniform(-1, 1, n),
    "tiny": lambda rng, n: 1e-14 * rng.exponential(size=n),
    "huge": lambda rng, n: 1e14 * rng.exponential(size=n),
    "heavy": lambda rng, n: np.exp(3 * rng.normal(size=n)),
}


@pytest.mark.parametrize("life", LIVES)
def test_lifetime_sparsity_of_100_000_images(life):
    images, batch = 102_400, 8
    x = LIVES[life](np.random.default_rng(0), images).astype(np.float32)[:, None]
    found = accumulate(lifetime_sparsity(), x, np.zeros(images, np.int32), batch)
    bound = (2 * (images // batch + batch) + 16) * UNIT
    # The formulas themselves lose digits where nothing is sparse: 1e-16 over the result.
    np.testing.assert_allclose(found["treves_rolls"], treves_rolls(x, 0), rtol=bound, atol=1e-15)
    np.testing.assert_allclose(found["hoyer"], hoyer(x, 0), rtol=bound, atol=1e-15)


@pytest.mark.parametrize("life", LIVES)
def test_the_interval_of_the_lifetime_gini_holds_it_for_100_000_images(life):
    images = 102_400
    x = LIVES[life](np.random.default_rng(3), images).astype(np.float32)[:, None]
    found = passes.accumulate(lifetime_gini(), x, 64)
    assert found["count"] == images
    assert np.abs(found["gini"] - gini(x.T)) <= found["gini_error"] + 2e-5
    assert found["gini_error"] < {"offset": 0.03, "heavy": 0.08}.get(life, 3e-3)


def test_the_interval_holds_where_values_span_a_hundred_octaves_or_lie_at_an_edge():
    rng = np.random.default_rng(4)
    x = np.stack(
        [
            np.exp(40 * rng.normal(size=4096).clip(-2, 2)),
            np.where(rng.random(4096) < 0.01, 1.0, 1e-5),
            rng.choice([1.0, 1.25, 2.0], 4096),
            rng.choice([1.0, np.nextafter(np.float32(1.25), np.float32(0))], 4096),
            3.4e38 * rng.random(4096),
            rng.choice([0.0, 1e-39], 4096),
        ],
        1,
    ).astype(np.float32)
    found = passes.accumulate(lifetime_gini(), x, 512)
    exact = gini(x.T[:5])
    assert (np.abs(found["gini"][:5] - exact) <= found["gini_error"][:5] + 2e-5).all()
    assert np.isnan(found["gini"][5]) and np.isnan(found["gini_error"][5])


def test_who_is_never_active_has_no_lifetime_sparsity():
    x = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]], np.float32)
    found = accumulate(lifetime_sparsity(), x, np.zeros(2, np.int32), 2)
    for name in ("treves_rolls", "hoyer"):
        np.testing.assert_allclose(found[name], [np.nan, 0, 1], rtol=8 * UNIT)
    one = accumulate(lifetime_sparsity(), x[1:], np.zeros(1, np.int32), 1)
    assert np.isnan(one["hoyer"]).all() and one["count"] == 1


MAPS = {
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "mostly silent": lambda rng, shape: np.maximum(rng.normal(size=shape) - 2.5, 0),
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "tiny": lambda rng, shape: 1e-30 * rng.exponential(size=shape),
    "huge": lambda rng, shape: -1e37 * rng.random(size=shape),
    "offset": lambda rng, shape: 1e6 + rng.uniform(-1, 1, shape),
}


@pytest.mark.parametrize("kind", MAPS)
def test_population_of_thousands_of_points_of_any_size(kind):
    images, shape, batch = 64, (16, 16, 8), 8
    x = MAPS[kind](np.random.default_rng(1), (images, *shape)).astype(np.float32)
    x[5] = 0.0
    rows = np.delete(x, 5, 0).reshape(images - 1, -1)
    each = 4 * (sum(shape) + 8) * UNIT
    label = np.zeros(images, np.int32)
    found = accumulate(population_sparsity(), x, label, batch) | accumulate(
        population_gini(), x, label, batch
    )
    assert found["silent"] == 1 and found["count"] == images - 1
    for name, expected in (
        ("treves_rolls", treves_rolls(rows, 1)),
        ("hoyer", hoyer(rows, 1)),
        ("gini", gini(rows)),
    ):
        allowed = each * (1 if name == "gini" else expected.max()) + 40 * UNIT * expected.std() + 1e-12
        assert np.abs(found[f"{name}.mean"] - expected.mean()) <= allowed, name
        assert np.abs(found[f"{name}.variance"] - expected.var()) <= 4 * allowed, name


def test_100_000_images_of_which_each_is_a_population():
    images = 102_400
    x = np.random.default_rng(2).exponential(size=(images, 12)).astype(np.float32)
    label = np.zeros(images, np.int32)
    bound = 4 * (12 + 8) * UNIT + (images // 64 + 64) * UNIT
    for acc, name, each in (
        (population_sparsity(), "hoyer", hoyer(x, 1)),
        (population_gini(), "gini", gini(x)),
    ):
        found = accumulate(acc, x, label, 64)
        np.testing.assert_allclose(found[f"{name}.mean"], each.mean(), rtol=0, atol=bound)
        np.testing.assert_allclose(found[f"{name}.variance"], each.var(), rtol=bound, atol=bound**2)


def test_one_point_is_no_population():
    for acc in (population_sparsity(), population_gini(), per_channel(population_gini())):
        with pytest.raises(PwactError, match="two points or more"):
            acc.init(jax.ShapeDtypeStruct((1,), jnp.float32))


def test_what_a_sweep_finds_is_what_numpy_finds_in_the_captures():
    data = pwact.data.digits()
    model = pwact.models.build(pwact.models.quick(data.image_shape, data.num_classes), 0)
    images = np.asarray(data.read(range(300)).image, np.float32) / 16
    data = pwact.data.arrays(images, np.arange(300) % 10)
    probe = pwact.probe(model, images[:4])
    site = "blocks.1.relu"
    statistics = {
        "four": moments(order=4),
        "top": top_k(3, per="point"),
        "bottom": bottom_k(3),
        "firing": firing(),
        "density": density(),
        "lifetime": lifetime_sparsity(),
        "population": population_sparsity(),
        "gini": population_gini(),
        "life": lifetime_gini(),
    }
    found = pwact.sweep(probe, probe.variables, data, statistics, sites=[site])[site]
    x = np.asarray(probe.run(probe.variables, images, sites=[site])[1][site])
    wide, rows = x.astype(np.float64), x.reshape(300, -1)
    alive = (x > 0).sum(0) > 1
    z = (wide - wide.mean(0))[:, alive] / wide.std(0)[alive]
    np.testing.assert_allclose(found["four.skewness"].values[alive], (z**3).mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["four.kurtosis"].values[alive], (z**4).mean(0), rtol=1e-4)
    np.testing.assert_allclose(found["top.value"].values, -np.sort(-x, 0)[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found["bottom.value"].values, np.sort(x.min((1, 2)), 0)[:3], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(found["firing.dead"].values, ~(x > 0).any(0))
    np.testing.assert_array_equal(found["firing.always_on"].values, (x > 0).all(0))
    np.testing.assert_allclose(found["density.mean"], (x > 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        found["lifetime.treves_rolls"].values[alive],
        treves_rolls(x[:, alive], 0),
        rtol=1e-4,
    )
    away = np.abs(found["life.gini"].values[alive] - gini(x[:, alive].T))
    assert (away <= found["life.gini_error"].values[alive] + 1e-4).all()
    np.testing.assert_allclose(found["population.hoyer.mean"], hoyer(rows, 1).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["gini.gini.mean"], gini(rows).mean(), rtol=1e-5)
