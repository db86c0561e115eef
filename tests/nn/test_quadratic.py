"""The quadratic layer against a linear one, its own gradient, and the monomials of scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.preprocessing import PolynomialFeatures

from pwact.models import ModelConfig, parameters
from pwact.nn import Conv
from pwact.nn.conv import patches
from pwact.nn.layers import quadratic


def layer(inside, outside, size, *, sign=-1.0, stride=1, seed=0):
    return quadratic(sign=sign).make(
        inside,
        outside,
        size,
        stride=stride,
        use_bias=True,
        kernel_norm=None,
        form="lax",
        rngs=nnx.Rngs(seed),
    )


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_last_row_and_column_alone_are_a_linear_convolution(sign, stride):
    linear = Conv(2, 3, 3, stride=stride, rngs=nnx.Rngs(0))
    linear.bias[...] = jnp.array([0.5, -1.0, 2.0])
    form = layer(2, 3, 3, sign=sign, stride=stride)
    weights = linear.kernel[...].reshape(18, 3) / 2
    kernel = jnp.zeros((19, 19, 3)).at[:18, 18].set(weights).at[18, :18].set(weights)
    form.kernel[...] = kernel.at[18, 18].set(linear.bias[...])
    x = jax.random.normal(jax.random.key(1), (2, 7, 6, 2))
    np.testing.assert_allclose(form(x), sign * linear(x), atol=1e-5)


def test_it_is_linear_in_the_monomials_of_degree_two():
    x = np.random.default_rng(0).normal(size=(40, 1, 1, 4)).astype(np.float32)
    form = layer(4, 2, 1)
    kernel = np.asarray(form.kernel[...], np.float64)
    terms = PolynomialFeatures(2)
    monomials = terms.fit_transform(x.reshape(40, 4).astype(np.float64))
    both = kernel + kernel.swapaxes(0, 1)
    coefficients = np.empty((monomials.shape[1], 2))
    for place, powers in enumerate(terms.powers_):
        named = [feature for feature, power in enumerate(powers) for _ in range(power)]
        i, j = [*named, 4, 4][:2]
        coefficients[place] = both[i, j] if i != j else kernel[i, i]
    np.testing.assert_allclose(form(jnp.asarray(x)).reshape(40, 2), -monomials @ coefficients, atol=1e-5)


def test_its_gradient_is_that_of_the_form():
    form = layer(1, 1, 3)
    x = jax.random.normal(jax.random.key(2), (1, 3, 3, 1))
    slope = jax.grad(lambda x: form(x)[0, 1, 1, 0])(x)
    kernel = np.asarray(form.kernel[...], np.float64)[..., 0]
    z = np.append(np.asarray(x, np.float64).ravel(), 1)
    np.testing.assert_allclose(slope.ravel(), -((kernel + kernel.T) @ z)[:-1], atol=1e-5)


def test_only_the_symmetric_part_matters():
    form = layer(2, 3, 3)
    x = jax.random.normal(jax.random.key(3), (2, 5, 5, 2))
    before = form(x)
    form.kernel[...] = (form.kernel[...] + form.kernel[...].swapaxes(0, 1)) / 2
    np.testing.assert_allclose(form(x), before, atol=1e-5)


def test_the_mean_response_is_the_trace_with_the_second_moments():
    form = layer(2, 3, 3)
    x = jax.random.normal(jax.random.key(4), (20, 6, 6, 2))
    z = np.asarray(patches(x, 3, 1), np.float64).reshape(-1, 18)
    z = np.concatenate([z, np.ones((len(z), 1))], 1)
    gram, kernel = z.T @ z / len(z), np.asarray(form.kernel[...], np.float64)
    exact = [-np.trace(kernel[..., f] @ gram) for f in range(3)]
    np.testing.assert_allclose(np.asarray(form(x), np.float64).mean((0, 1, 2)), exact, rtol=1e-5)


def test_initial_values_are_uniform_as_the_authors_draw_them():
    kernel = np.asarray(layer(3, 32, 3).kernel[...], np.float64)
    assert kernel.shape == (28, 28, 32)
    limit = np.sqrt(3 / (32 * 28))
    # Keras' Glorot limit for a variable of shape (filters, D, D): sqrt(6 / (filters D + filters D)).
    assert 0.999 * limit < np.abs(kernel).max() <= limit
    assert abs(kernel.var() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / kernel.size)


def test_parameters_of_the_specified_networks():
    shared = {"widths": (8, 8), "strides": (2, 1), "first_kernel_size": 3, "norm": "none", "head": "flatten"}
    found = [
        parameters(ModelConfig((8, 8, 1), 10, layer=kind, pooling="max", **shared))
        for kind in ("conv", "quadratic")
    ]
    assert found == [1954, 44722]
