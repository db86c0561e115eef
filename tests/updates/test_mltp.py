"""The look-ahead gradient against Hessians that are written out, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from pwact.updates import mltp, plain

KEYS = (None, None)


def perceptron(seed: int = 0):
    """Two layers of tanh and softplus: smooth, so that its Hessian is everywhere defined."""
    rng = np.random.default_rng(seed)
    params = {
        "a": {"kernel": jnp.asarray(rng.normal(size=(5, 7)) / 2), "bias": jnp.asarray(rng.normal(size=7))},
        "b": {"kernel": jnp.asarray(rng.normal(size=(7, 3))), "bias": jnp.asarray(rng.normal(size=3))},
    }
    batches = tuple((jnp.asarray(rng.normal(size=(6, 5))), jnp.asarray(rng.integers(0, 3, 6))) for _ in "ij")
    return params, batches


def loss(params, batch, key):
    x, y = batch
    hidden = jnp.tanh(x @ params["a"]["kernel"] + params["a"]["bias"][None])
    logits = jax.nn.softplus(hidden @ params["b"]["kernel"] + params["b"]["bias"][None])
    value = -jax.nn.log_softmax(logits)[jnp.arange(len(y)), y].mean()
    return value, {"logits": logits}


def parts(params, batches, a):
    """g_i, g_j at the looked-ahead point, and the Hessian, flat."""
    flat, unflat = ravel_pytree(params)

    def of(batch):
        return lambda flat: loss(unflat(flat), batch, None)[0]

    here = jax.grad(of(batches[0]))(flat)
    there = jax.grad(of(batches[1]))(flat - a * here)
    return np.asarray(here), np.asarray(there), np.asarray(jax.hessian(of(batches[0]))(flat))


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("a", [0.05, 0.8])
def test_it_is_the_gradient_with_the_hessian_written_out(weight, a):
    with jax.enable_x64(True):
        params, batches = perceptron()
        here, there, hessian = parts(params, batches, a)
        _, aux, slope, logs = mltp(weight=weight, step_size=a).gradient(loss, params, batches, KEYS, 9.0)
        found = np.asarray(ravel_pytree(slope)[0])
        np.testing.assert_allclose(
            found, here + weight * (there - a * hessian @ there), rtol=1e-10, atol=1e-13
        )
        assert np.abs(a * hessian @ there).max() > 1e-4, "the Hessian would not be missed"
        first = mltp(weight=weight, step_size=a, first_order=True).gradient(loss, params, batches, KEYS, 9.0)
        np.testing.assert_allclose(ravel_pytree(first[2])[0], here + weight * there, rtol=1e-10, atol=1e-13)
        cosine = here @ there / np.sqrt(here @ here * (there @ there))
        np.testing.assert_allclose(logs["gradient_cosine"], cosine, rtol=1e-12)
        np.testing.assert_array_equal(aux["logits"], loss(params, batches[0], None)[1]["logits"])


def test_it_is_the_gradient_of_the_objective_that_it_states():
    with jax.enable_x64(True):
        params, batches = perceptron(1)

        def whole(params):
            value, slope = jax.value_and_grad(loss, has_aux=True)(params, batches[0], None)
            looked = jax.tree.map(lambda p, g: p - 0.4 * g, params, slope)
            return value[0] + 0.5 * loss(looked, batches[1], None)[0]

        value, _, slope, _ = mltp(weight=0.5).gradient(loss, params, batches, KEYS, 0.4)
        np.testing.assert_allclose(value, whole(params), rtol=1e-14)
        jax.tree.map(
            lambda one, own: np.testing.assert_allclose(one, own, rtol=1e-10, atol=1e-13),
            slope,
            jax.grad(whole)(params),
        )


def test_without_a_step_it_is_sgd_on_the_sum_of_both_losses():
    with jax.enable_x64(True):
        params, batches = perceptron(2)
        both = tuple(jnp.concatenate(part) for part in zip(*batches, strict=True))
        _, _, union, _ = plain().gradient(loss, params, (both,), KEYS, 0.1)
        for first_order in (False, True):
            _, _, slope, _ = mltp(step_size=0.0, first_order=first_order).gradient(
                loss, params, batches, KEYS, 0.1
            )
            jax.tree.map(
                lambda one, own: np.testing.assert_allclose(one, 2 * own, rtol=1e-12, atol=1e-14),
                slope,
                union,
            )


def test_to_first_order_it_rewards_gradients_that_agree():
    with jax.enable_x64(True):
        params, batches = perceptron(3)
        here, there, _ = parts(params, batches, 0.0)
        sides = [loss(params, batch, None)[0] for batch in batches]
        remainders = []
        for a in (1e-2, 1e-3):
            value = mltp(step_size=a).gradient(loss, params, batches, KEYS, 0.1)[0]
            remainders.append(abs(value - (sides[0] + sides[1] - a * here @ there)))
        # What is left is of second order: a hundredth for a tenth of the step.
        assert remainders[1] < remainders[0] / 90


def test_gradients_of_zero_have_a_cosine_of_zero():
    value, _, slope, logs = mltp().gradient(
        lambda params, batch, key: (jnp.sum(params * 0), None), jnp.ones(3), (0, 0), KEYS, 0.1
    )
    assert logs["gradient_cosine"] == 0 and not slope.any() and value == 0
