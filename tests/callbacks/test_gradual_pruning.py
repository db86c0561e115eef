"""The cubic schedule, and that nothing grows back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.callbacks import gradual_pruning

STEPS, SHAPE = 40, (5, 5, 4, 10)


def pruned(callback, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    """Kernels after each step while the optimizer pushes every weight, the pruned ones too."""
    rng = np.random.default_rng(seed)

    def step(carry, at):
        state, params = carry
        t, change = at
        params = {"kernel": params["kernel"] + change, "bias": params["bias"]}
        state, params = callback.update(state, params, t, jnp.int32(steps), jax.random.key(0))
        return (state, params), params["kernel"]

    params = {"kernel": jnp.float32(rng.normal(size=SHAPE)), "bias": jnp.zeros(10)}
    changes = jnp.float32(rng.normal(size=(steps, *SHAPE)))
    start = (callback.init(params), params)
    return np.asarray(jax.lax.scan(step, start, (jnp.arange(steps), changes))[1])


@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (0.25, 0.75), (0.5, 1.0)])
def test_the_share_of_zeros_follows_the_cubic(begin, end):
    found = (pruned(gradual_pruning(0.9, begin, end)) == 0).reshape(STEPS, -1).sum(1)
    share = np.arange(1, STEPS + 1) / STEPS
    wanted = 0.9 * (1 - (1 - np.clip((share - begin) / (end - begin), 0, 1)) ** 3)
    # Whole weights; 1e-5 of them for the schedule in float32.
    assert np.abs(found - wanted * 1000).max() <= 0.51
    assert found[-1] == 900 and (share <= begin).sum() == (found == 0).sum()


def test_what_was_pruned_stays_so():
    zero = pruned(gradual_pruning(0.7)) == 0
    assert (zero[1:] >= zero[:-1]).all() and zero[-1].sum() == 700


def test_the_smallest_go_and_the_others_keep_their_value():
    kernel = jnp.float32(np.random.default_rng(3).normal(size=(20, 5)))
    callback = gradual_pruning(0.4)
    _, new = callback.update(
        callback.init([kernel]), [kernel], jnp.int32(9), jnp.int32(10), jax.random.key(0)
    )
    kept = np.asarray(new[0]) != 0
    assert kept.sum() == 60
    assert np.abs(kernel)[kept].min() > np.abs(kernel)[~kept].max()
    np.testing.assert_array_equal(np.asarray(new[0])[kept], np.asarray(kernel)[kept])


def test_equal_weights_are_pruned_in_the_number_asked_for():
    kernel = jnp.ones((4, 5))
    callback = gradual_pruning(0.5)
    _, new = callback.update(callback.init([kernel]), [kernel], jnp.int32(0), jnp.int32(1), jax.random.key(0))
    assert (np.asarray(new[0]) == 0).sum() == 10
