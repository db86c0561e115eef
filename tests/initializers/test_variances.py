"""Orthonormal columns, and activations that keep their size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.initializers import he_normal, orthogonal


@pytest.mark.parametrize("shape", [(3, 3, 4, 16), (64, 10), (10, 64)])
def test_orthogonal_kernels_are_orthonormal_on_their_shorter_side(shape):
    params = {"kernel": jnp.zeros(shape)}
    kernel = np.asarray(orthogonal().draw(jax.random.key(0), params)["kernel"], np.float64).reshape(
        -1, shape[-1]
    )
    short = kernel if kernel.shape[0] <= kernel.shape[1] else kernel.T
    np.testing.assert_allclose(short @ short.T, np.eye(len(short)), atol=1e-5)


def test_relu_layers_of_he_normal_keep_the_mean_square():
    params = [{"kernel": jnp.zeros((512, 512))} for _ in range(5)]
    drawn = he_normal().draw(jax.random.key(2), params)
    x = start = np.random.default_rng(0).normal(size=(256, 512))
    for layer in drawn:
        x = np.maximum(x @ np.asarray(layer["kernel"], np.float64), 0)
    # Half of E(z^2) lies above zero, so that E(relu^2) is what E(x^2) was; five layers of 4 % noise.
    assert 0.8 < (x**2).mean() / (start**2).mean() < 1.25
