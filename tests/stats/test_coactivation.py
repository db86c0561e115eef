"""Counts of two channels firing together: exact at any size."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import coactivation
from pwact.types import Observation

from .streams import accumulate

MODULE = importlib.import_module("pwact.stats.coactivation")
"""By name: the package gives the factory the name of its MODULE."""


def test_counts_are_those_of_numpy_over_many_points():
    x = np.random.default_rng(0).normal(size=(2048, 8, 8, 6)).astype(np.float32)
    x[..., 5] = -1
    fires = x.reshape(-1, 6) > 0.5
    found = accumulate(coactivation(0.5), x, 16)
    both = (fires[:, :, None] & fires[:, None]).sum(0)
    either = (fires[:, :, None] | fires[:, None]).sum(0)
    assert found["count"] == 2048 * 64
    np.testing.assert_array_equal(found["both"], both)
    np.testing.assert_allclose(found["jaccard"][:5, :5], (both / np.maximum(either, 1))[:5, :5], rtol=5e-7)
    assert np.isnan(found["jaccard"][5, 5]) and found["jaccard"][5, 0] == 0


def test_counts_are_exact_where_float32_and_int32_are_not():
    acc = coactivation()
    x = jnp.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    zero = jnp.zeros(3, jnp.int32)
    seen = Observation(x, zero, zero, zero, jnp.ones(3, bool))
    state = acc.update(acc.init(jax.ShapeDtypeStruct((2,), x.dtype)), seen)
    for _ in range(33):
        state = acc.merge(state, state)
    result = acc.finalize(acc.update(state, seen))
    n = 2**33 + 1
    assert np.asarray(result["count"].values) == 3 * n
    assert np.asarray(result["both"].values).tolist() == [[3 * n, 2 * n], [2 * n, 2 * n]]
    np.testing.assert_allclose(result["jaccard"].values, [[1, 2 / 3], [2 / 3, 1]], rtol=5e-7)


def test_more_points_at_once_than_a_float_counts_are_counted_in_parts(monkeypatch):
    monkeypatch.setattr(MODULE, "EXACT", 7)
    x = np.random.default_rng(1).normal(size=(4, 3, 3, 2)).astype(np.float32)
    fires = x.reshape(-1, 2) > 0
    assert [len(part) for part in MODULE._parts(jnp.asarray(fires)[None])] == [7, 7, 7, 7, 7, 1]
    found = accumulate(coactivation.__wrapped__(), x, 4)
    np.testing.assert_array_equal(found["both"], (fires[:, :, None] & fires[:, None]).sum(0))


def test_a_value_at_the_threshold_does_not_fire_and_subnormals_are_zero_on_cpu():
    x = np.array([[0.5, 1e-40], [np.nextafter(np.float32(0.5), np.float32(1)), 1.0]], np.float32)
    assert accumulate(coactivation(0.5), x, 2)["both"].tolist() == [[1, 1], [1, 1]]
    if jax.default_backend() == "cpu":
        assert accumulate(coactivation(), x, 2)["both"].tolist() == [[2, 1], [1, 1]]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(PwactError, match="threshold as a finite number"):
        coactivation(float("inf"))
    with pytest.raises(PwactError, match="positions as one of: pooled, each; found 'mean'"):
        coactivation(positions="mean")
