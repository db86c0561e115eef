"""WeightAlign against the same written elsewhere, and against what its mathematics promises."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pwact.errors import PwactError
from pwact.models import ModelConfig, build
from pwact.nn import Conv
from pwact.nn.norms import weight_align

SHAPES = [(3, 3, 4, 6), (3, 3, 1, 5), (1, 1, 8, 3), (12, 7)]


def module(shape, **options):
    return weight_align(**options).kernel(shape, nnx.Rngs(0))


def standardised(kernel):
    """Weight standardisation as PyTorch's packages have it: each filter to mean 0, variance 1."""
    rows = np.moveaxis(np.asarray(kernel, np.float64), -1, 0)
    return np.moveaxis(np.stack([(row - row.mean()) / row.std() for row in rows]), 0, -1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("gain", "length"),
    [("he", math.sqrt(2)), ("unit", 1.0), ("centred", math.sqrt(2 / (1 - 1 / math.pi)))],
    ids=str,
)
def test_it_is_weight_standardisation_times_gain_over_root_n(shape, gain, length):
    kernel = jax.random.normal(jax.random.key(1), shape) + 0.5
    used = module(shape, gain=gain, epsilon=0.0)(kernel)
    fan_in = math.prod(shape[:-1])
    np.testing.assert_allclose(used, standardised(kernel) * length / math.sqrt(fan_in), atol=2e-5)
    np.testing.assert_allclose(np.asarray(used, np.float64).reshape(fan_in, -1).sum(0), 0, atol=1e-5)
    squares = (np.asarray(used, np.float64).reshape(fan_in, -1) ** 2).sum(0)
    np.testing.assert_allclose(squares, length**2, rtol=5e-5)


def test_the_learnt_scale_is_a_filters_length_over_the_gain():
    aligned = module((3, 3, 4, 6))
    aligned.scale[...] = jnp.arange(1.0, 7.0)
    used = np.asarray(aligned(jax.random.normal(jax.random.key(0), (3, 3, 4, 6))), np.float64)
    np.testing.assert_allclose((used**2).sum((0, 1, 2)), 2 * np.arange(1, 7) ** 2, rtol=1e-4)


def test_size_and_level_of_a_kernel_are_free():
    kernel = jax.random.normal(jax.random.key(2), (3, 3, 4, 6))
    aligned = module((3, 3, 4, 6), epsilon=0.0)
    np.testing.assert_allclose(aligned(7 * kernel + 3), aligned(kernel), atol=1e-6)


def test_the_gradient_is_orthogonal_to_each_filter_and_to_one():
    shape = (3, 3, 4, 6)
    kernel = jax.random.normal(jax.random.key(3), shape) + 0.3
    aligned, weights = module(shape, epsilon=0.0), jax.random.normal(jax.random.key(4), shape)
    slope = np.asarray(jax.grad(lambda k: jnp.sin(3 * weights * aligned(k)).sum())(kernel), np.float64)
    along = np.abs((slope * np.asarray(kernel, np.float64)).sum((0, 1, 2)))
    level = np.abs(slope.sum((0, 1, 2)))
    # Of 36 products of order 1, rounded to float32.
    assert np.abs(slope).max() > 0.1 and along.max() < 1e-5 and level.max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 4)], ids=str)
def test_one_weight_an_output_is_refused(shape):
    with pytest.raises(PwactError, match="two weights or more into each output"):
        module(shape)
    with pytest.raises(PwactError, match="two weights or more"):
        build(ModelConfig((4, 4, 1), 2, first_kernel_size=1, norm="weight_align"), 0)


@pytest.mark.parametrize("form", ["lax", "slices"])
def test_a_convolution_uses_the_aligned_kernel_and_keeps_its_bias(form):
    layer = Conv(2, 4, 3, kernel_norm=weight_align().kernel, form=form, rngs=nnx.Rngs(1))
    layer.bias[...] = jnp.arange(4.0)
    plain = Conv(2, 4, 3, form=form, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(plain.kernel[...], layer.kernel[...])
    plain.bias[...] = layer.bias[...]
    plain.kernel[...] = module((3, 3, 2, 4))(plain.kernel[...])
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 2))
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)


def test_logits_of_an_image_are_the_same_in_any_batch_in_training_and_in_evaluation():
    config = ModelConfig((8, 8, 1), 5, widths=(4, 6), strides=(2, 1), norm="weight_align")
    model = build(config, 0)
    images = jax.random.normal(jax.random.key(0), (16, 8, 8, 1))
    logits = jax.jit(model.__call__)
    alone = logits(images[:1])[0]
    np.testing.assert_allclose(logits(images)[0], alone, atol=1e-6)
    np.testing.assert_allclose(logits(images.at[1:].multiply(100.0))[0], alone, atol=1e-6)
    model.eval()
    np.testing.assert_array_equal(jax.jit(model.__call__)(images[:1])[0], alone)


@pytest.mark.parametrize(
    ("gain", "low", "high"), [("he", 0.680, 0.684), ("centred", 0.998, 1.004)], ids=["he", "centred"]
)
def test_variance_from_layer_to_layer_of_a_wide_relu_network(gain, low, high):
    """1 - 1/pi = .6817 a layer with `he`, 1 with `centred`, in the mean over ten layers of 2,048 units."""
    width, depth, images = 2048, 10, 256
    keys = jax.random.split(jax.random.key(9), depth + 1)
    x = jax.random.normal(keys[0], (images, width))

    @functools.partial(jax.jit, static_argnums=2)
    def layer(x, key, gain):
        aligned = module((width, width), gain=gain)
        return x @ aligned(jax.random.normal(key, (width, width)) * math.sqrt(2 / width))

    variances = []
    for place, key in enumerate(keys[1:]):
        y = layer(x, key, gain if place else "unit")
        variances.append(np.square(np.asarray(y, np.float64)).mean())
        x = jax.nn.relu(y)
    assert 0.95 < variances[0] < 1.05
    ratio = (variances[-1] / variances[0]) ** (1 / (depth - 1))
    assert low <= ratio <= high, ratio
