"""No receptive field misses a pixel on which a point depends, whatever is stacked on what."""

from __future__ import annotations

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import lax

import pwact

SIZE = 9
NHWC = ("NHWC", "HWIO", "NHWC")


def conv(x, size=(3, 3), strides=(1, 1), padding="SAME", dilation=1):
    kernel = jnp.ones((*size, x.shape[-1], 2))
    return lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=(dilation, dilation), dimension_numbers=NHWC
    )


def patches(x):
    taken = lax.conv_general_dilated_patches(x, (3, 3), (1, 1), "SAME", dimension_numbers=NHWC)
    return taken @ jnp.ones((taken.shape[-1], 2))


def channels_first(x):
    kernel = jnp.ones((2, x.shape[-1], 3, 3))
    return lax.conv_general_dilated(x.transpose(0, 3, 1, 2), kernel, (2, 1), "SAME").transpose(0, 2, 3, 1)


def scanned(x):
    return lax.scan(lambda carry, _: (conv(carry), None), conv(x, (1, 1)), None, length=2)[0]


LAYERS = {
    "residual": lambda x: conv(x, (1, 1)) + conv(conv(x), (1, 4)),
    "scales": lambda x: jnp.concatenate([conv(x, (5, 1)), conv(x, (1, 3)), x], axis=-1),
    "patches": patches,
    "grouped": lambda x: lax.conv_general_dilated(
        conv(x), jnp.ones((3, 3, 1, 2)), (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=2
    ),
    "channels first": channels_first,
    "scanned": scanned,
    "vmap": lambda x: jax.vmap(lambda image: conv(image[None], (3, 2))[0])(x),
    "max pool": lambda x: linen.max_pool(x, (2, 3), (2, 1), "SAME"),
    "average pool": lambda x: linen.avg_pool(x, (2, 2), (1, 2), "SAME", count_include_pad=False),
    "padding": lambda x: jnp.pad(x, ((0, 0), (2, 0), (0, 1), (0, 0))),
    "reflection": lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
    "crop": lambda x: x[:, 1:, :-1],
    "difference": lambda x: x[:, 1:] - x[:, :-1],
    "mirror": lambda x: x[:, ::-1],
    "roll": lambda x: jnp.roll(x, 1, axis=2),
    "transposed": lambda x: x.transpose(0, 2, 1, 3),
    "first column to all": lambda x: x[:, :, :1] + x,
    "mean of columns": lambda x: x + x.mean(1, keepdims=True),
    "sums so far": lambda x: jnp.cumsum(x, axis=2),
    "twice as large": lambda x: jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2),
    "transposed convolution": lambda x: lax.conv_transpose(
        x, jnp.ones((2, 2, x.shape[-1], 2)), (2, 2), "SAME", dimension_numbers=NHWC
    ),
    "first row written": lambda x: x.at[:, 0].set(0.0),
    "chosen by place": lambda x: jnp.where(np.arange(x.shape[1]).reshape(1, -1, 1, 1) > 1, x, 2 * x),
}


def drawn(draw):
    """A layer at random: half of the time a convolution."""
    if draw.random() < 0.5:
        name = draw.choice(sorted(LAYERS))
        return name, LAYERS[name]
    size, strides = (draw.randint(1, 4), draw.randint(1, 4)), (draw.choice([1, 1, 2]), draw.choice([1, 2]))
    padding, dilation = draw.choice(["SAME", [(1, 2), (0, 1)], [(0, 0), (2, 2)]]), draw.choice([1, 1, 2])
    name = f"conv {size} strides {strides} padding {padding} dilation {dilation}"
    return name, lambda x: conv(x, size, strides, padding, dilation)


def chain(layers):
    def model(x):
        for layer in layers:
            x = layer(x)
        return x

    return model


def missed(model):
    """Points whose box leaves out a pixel with a gradient; None where no field is claimed."""
    field = pwact.probe(model, jnp.zeros((1, SIZE, SIZE, 1))).sites["output"].receptive_field
    if field is None:
        return None
    slopes = jax.jit(jax.vmap(jax.jacrev(lambda x: model(x[None])[0].sum(-1))))
    images = jax.random.uniform(jax.random.key(0), (4, SIZE, SIZE, 1))  # maxima lie at other places in each
    depends = np.abs(slopes(images)).sum((0, -1)) > 0
    wrong = []
    for row, column in np.ndindex(*depends.shape[:2]):
        top, left, bottom, right = field.box(row, column)
        inside = depends[row, column, top:bottom, left:right].sum()
        if inside < depends[row, column].sum():
            wrong.append((row, column, (top, left, bottom, right)))
    return wrong


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer_and_one_after_a_strided_convolution(name):
    for layers in ([LAYERS[name]], [lambda x: conv(x, (2, 3), (1, 2)), LAYERS[name]]):
        assert missed(chain(layers)) in (None, [])


@pytest.mark.parametrize("seed", range(20))
def test_random_stacks_of_three(seed):
    draw = random.Random(seed)
    names, layers = zip(*(drawn(draw) for _ in range(3)), strict=True)
    assert missed(chain(layers)) in (None, []), names


def test_most_layers_have_a_field():
    fields = {name: missed(layer) for name, layer in LAYERS.items()}
    assert {name for name, found in fields.items() if found is None} == {
        *("reflection", "roll", "transposed", "twice as large"),
        *("transposed convolution", "first row written"),
    }
