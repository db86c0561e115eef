"""Filters at the limit, and those that were never longer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pwact.callbacks import max_norm


def test_longer_filters_end_at_the_limit_and_shorter_ones_keep_every_bit():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 8)).astype(np.float32)
    kernel *= np.linspace(0.0, 1.0, 8, dtype=np.float32)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.full(8, 50.0)}
    state, new = max_norm(3.0).update((), params, jnp.int32(0), jnp.int32(1), jax.random.key(0))
    before, after = (
        np.sqrt((np.asarray(k, np.float64) ** 2).sum((0, 1, 2))) for k in (kernel, new["kernel"])
    )
    short = before <= 3
    assert state == () and short.any() and not short.all()
    np.testing.assert_array_equal(np.asarray(new["kernel"])[..., short], kernel[..., short])
    np.testing.assert_allclose(after[~short], 3, rtol=1e-6)
    np.testing.assert_allclose(
        np.asarray(new["kernel"])[..., ~short] / after[~short],
        kernel[..., ~short] / before[~short],
        atol=1e-6,
    )
    np.testing.assert_array_equal(new["bias"], params["bias"])
