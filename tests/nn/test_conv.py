"""Both programs of a convolution, against a float64 loop and against each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pwact.nn import Conv, Pool

CASES = [
    # rows, columns, channels, outputs, kernel, stride
    (9, 7, 3, 5, 3, 2),
    (8, 6, 2, 3, 5, 2),
    (28, 28, 1, 4, 7, 2),
    (6, 6, 2, 3, 2, 1),
    (6, 5, 2, 3, 4, 3),
    (5, 5, 4, 3, 1, 1),
    (9, 9, 2, 3, 1, 4),
    (4, 4, 1, 2, 7, 3),
]


def loop(x, kernel, bias, stride):
    """SAME convolution in float64, one output at a time."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size = len(kernel)
    out = [-(-length // stride) for length in x.shape[1:3]]
    pad = [max((n - 1) * stride + size - length, 0) for n, length in zip(out, x.shape[1:3], strict=True)]
    x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pad), (0, 0)))
    y = np.empty((len(x), *out, kernel.shape[-1]))
    for r in range(out[0]):
        for c in range(out[1]):
            patch = x[:, r * stride : r * stride + size, c * stride : c * stride + size]
            y[:, r, c] = np.tensordot(patch, kernel, 3)
    return y + np.asarray(bias, np.float64)


def layers(case):
    _, _, channels, outputs, size, stride = case
    lax, slices = (
        Conv(channels, outputs, size, stride=stride, form=form, rngs=nnx.Rngs(0))
        for form in ("lax", "slices")
    )
    bias = jax.random.normal(jax.random.key(2), (outputs,))
    lax.bias[...] = bias
    slices.bias[...] = bias
    return lax, slices


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_programs_against_float64(case):
    lax, slices = layers(case)
    x = jax.random.normal(jax.random.key(1), (3, *case[:3]))
    exact = loop(x, lax.kernel[...], lax.bias[...], case[5])
    one, other = jax.jit(lambda x: (lax(x), slices(x)))(x)
    # Sums of at most 49 * 3 products of order 1 in float32: some 1e-6.
    np.testing.assert_allclose(one, exact, atol=5e-6)
    np.testing.assert_allclose(other, exact, atol=5e-6)


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[4]], ids=str)
def test_gradients_of_both_programs_agree(case):
    x = jax.random.normal(jax.random.key(1), (3, *case[:3]))

    @functools.partial(jax.jit, static_argnums=0)
    def slope(graph, state, x):
        return jax.grad(lambda state, x: jnp.sin(nnx.merge(graph, state)(x)).sum(), (0, 1))(state, x)

    slopes = [jax.tree.leaves(slope(*nnx.split(layer), x)) for layer in layers(case)]
    for one, other in zip(*slopes, strict=True):
        # Gradients sum over 3 images and all positions: values up to 1e2 in float32.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_variables_fit_both_programs():
    lax, slices = (nnx.state(layer) for layer in layers(CASES[0]))
    assert jax.tree.structure(lax) == jax.tree.structure(slices)
    np.testing.assert_array_equal(lax["kernel"][...], slices["kernel"][...])


def test_without_bias_there_is_no_bias():
    assert set(nnx.state(Conv(1, 2, 3, use_bias=False, rngs=nnx.Rngs(0)))) == {"kernel"}


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("size", [2, 3])
def test_pooling_against_a_loop(kind, size):
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)
    rows, columns = 7 // size, 8 // size
    reduce = np.max if kind == "max" else np.mean
    exact = np.array(
        [
            [
                reduce(
                    x[:, r * size : r * size + size, c * size : c * size + size].astype(np.float64), (1, 2)
                )
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    ).transpose(2, 0, 1, 3)
    np.testing.assert_allclose(jax.jit(Pool(kind, size).__call__)(x), exact, atol=1e-6)
