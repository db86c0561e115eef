"""Norm loss against its closed forms, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pwact.regularizers import norm_loss

STEP = np.int32(0)
RATE, WEIGHT = 0.1, 0.5


def kernel(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, 3, 4, 6))


def lengths(kernel: np.ndarray) -> np.ndarray:
    return np.sqrt((np.asarray(kernel, np.float64) ** 2).sum((0, 1, 2)))


def coupled():
    return optax.sgd(RATE), lambda params: jax.grad(norm_loss(WEIGHT).value)(params, jnp.int32(0))


def decoupled():
    chain = optax.chain(norm_loss(WEIGHT, decoupled=True), optax.sgd(RATE))
    return chain, lambda params: jax.tree.map(jnp.zeros_like, params)


@pytest.mark.parametrize("form", [coupled, decoupled])
def test_without_data_the_distance_to_one_shrinks_by_a_fixed_factor(form):
    with jax.enable_x64(True):
        optimizer, slope = form()
        params = {"kernel": jnp.asarray(kernel()), "bias": jnp.full(6, 3.0)}
        state, first = optimizer.init(params), lengths(params["kernel"])
        for t in range(1, 31):
            change, state = optimizer.update(slope(params), state, params)
            params = optax.apply_updates(params, change)
            wanted = (first - 1) * (1 - 2 * RATE * WEIGHT) ** t
            # The decoupled form divides by n + 1e-8.
            np.testing.assert_allclose(lengths(params["kernel"]) - 1, wanted, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(params["bias"], 3.0)
        direction = np.asarray(params["kernel"]) / lengths(params["kernel"])
        np.testing.assert_allclose(direction, kernel() / lengths(kernel()), atol=1e-12)
    assert (first - 1 > 0.5).any()


@pytest.mark.parametrize("shape", [(5, 7), (3, 3, 2, 4), (6, 1, 5)])
def test_the_gradient_is_the_formula(shape):
    with jax.enable_x64(True):
        w = np.random.default_rng(1).normal(size=shape)
        found = jax.grad(norm_loss(0.7).value)({"kernel": jnp.asarray(w)}, jnp.int32(0))["kernel"]
        n = np.sqrt((w**2).sum(tuple(range(w.ndim - 1)), keepdims=True))
        np.testing.assert_allclose(found, 2 * 0.7 * (1 - 1 / n) * w, rtol=1e-12, atol=1e-14)


def test_unit_kernels_cost_nothing_and_do_not_move():
    unit = kernel(2) / lengths(kernel(2))
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(norm_loss(1.0).value)(jnp.asarray(unit), jnp.int32(0))
        assert abs(value) < 1e-28 and np.abs(slope).max() < 1e-14


def test_kernels_of_length_two_cost_one_an_output_and_have_themselves_as_gradient():
    double = 2 * kernel(3) / lengths(kernel(3))
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(norm_loss(1.0).value)(jnp.asarray(double), jnp.int32(0))
        np.testing.assert_allclose(value, 6, rtol=1e-14)
        np.testing.assert_allclose(slope, double, rtol=1e-12)


def test_a_filter_of_zeros_stays_while_others_move():
    w = kernel(4).astype(np.float32)
    w[..., 2] = 0
    with_zero = jnp.asarray(w)
    slope = jax.grad(norm_loss(1.0).value)(with_zero, jnp.int32(0))
    transformation = norm_loss(1.0, decoupled=True)
    change, _ = transformation.update(jnp.zeros_like(with_zero), optax.EmptyState(), with_zero)
    for found in (slope, change):
        assert np.isfinite(found).all() and not found[..., 2].any() and found[..., 1].any()


def test_biases_and_norms_are_free():
    """Not so in the optimizers that have it, where a vector as a whole is pulled to length one."""
    params = {"bias": jnp.full(5, 2.0), "scale": jnp.ones(5)}
    assert norm_loss(1.0).value(params, jnp.int32(0)) == 0
    change, _ = norm_loss(1.0, decoupled=True).update(params, optax.EmptyState(), params)
    jax.tree.map(np.testing.assert_array_equal, change, params)
