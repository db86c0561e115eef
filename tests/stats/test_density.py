"""Density, dead and always-on points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pwact.stats import density, firing
from pwact.types import Observation

UNIT = 2.0**-24


def state_of(acc, x, batch):
    zero, valid = jnp.zeros(batch, jnp.int32), jnp.ones(batch, bool)

    @jax.jit
    def run(x):
        start = acc.init(jax.ShapeDtypeStruct(x.shape[2:], x.dtype))
        return jax.lax.scan(
            lambda state, part: (acc.update(state, Observation(part, zero, zero, zero, valid)), None),
            start,
            x,
        )[0]

    return run(jnp.asarray(x.reshape(-1, batch, *x.shape[1:])))


def values(acc, state):
    return {name: np.asarray(value.values) for name, value in acc.finalize(state).items()}


def test_density_of_100_000_images_of_which_few_are_active():
    rng, images, batch = np.random.default_rng(0), 102_400, 64
    x = np.maximum(rng.normal(size=(images, 2, 3, 4)) - 3 * rng.random((images, 1, 1, 1)), 0).astype(
        np.float32
    )
    x[::1000] = 1.0
    found = values(acc := density(), state_of(acc, x, batch))
    share = (x > 0).mean((1, 2, 3))
    steps = images // batch + batch
    assert found["count"] == images
    np.testing.assert_allclose(found["mean"], (x > 0).mean(), rtol=2 * UNIT, atol=steps * UNIT * share.std())
    np.testing.assert_allclose(found["variance"], share.var(), rtol=steps * UNIT)


def test_dead_and_always_on_are_told_from_almost_so_after_2_to_the_40_images():
    acc = firing()
    x = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]], np.float32)
    state = state_of(acc, x, 2)
    for _ in range(40):
        state = acc.merge(state, state)
    one = state_of(acc, np.array([[0.0, 1.0, 1.0, 0.0]], np.float32), 1)
    state = acc.merge(state, one)
    found = values(acc, state)
    assert found["count"] == 2**41 + 1
    assert found["share"][3] == 1 and 0 < found["share"][2] < 1e-12
    assert found["dead"].tolist() == [True, False, False, False]
    assert found["always_on"].tolist() == [False, True, False, False]
