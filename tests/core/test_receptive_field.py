"""Receptive fields read from the program are where gradients say they are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.nn import Conv

SIZE = 17


def conv(size, stride=1, padding="SAME", dilation=1):
    def layer(x):
        kernel = jnp.ones((size, size, x.shape[-1], 2))
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    return layer


def pool(size, stride, padding="VALID", of=jax.lax.add):
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    start = 0.0 if of is jax.lax.add else -jnp.inf
    return lambda x: jax.lax.reduce_window(x, start, of, window, strides, padding)


def chain(*layers):
    def model(x):
        for layer in layers:
            x = layer(x)
        return x

    return model


def residual(x):
    return conv(1)(x) + conv(5)(x)


def two_scales(x):
    return jnp.concatenate([conv(3)(x), conv(7)(x)], axis=-1)


def slices(x):
    """A convolution as shifted slices and one product."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[1:3]
    shifted = [
        jax.lax.slice(padded, (0, i, j, 0), (1, i + rows, j + columns, x.shape[3]), (1, 2, 2, 1))
        for i in range(3)
        for j in range(3)
    ]
    taps = jnp.concatenate(shifted, axis=-1)
    return taps @ jnp.ones((taps.shape[-1], 2))


def slices_by_index(x):
    """The same in NumPy's notation, which jax turns into gathers."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[1:3]
    shifted = [padded[:, i : i + rows : 2, j : j + columns : 2] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ jnp.ones((9 * x.shape[-1], 2))


def space_to_depth(x):
    batch, rows, columns, channels = x.shape
    x = x[:, : rows // 2 * 2, : columns // 2 * 2].reshape(batch, rows // 2, 2, columns // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows // 2, columns // 2, 4 * channels)


NETS = {
    "3x3": chain(conv(3)),
    "even kernel": chain(conv(4), conv(2)),
    "strides": chain(conv(5, 2), conv(3, 2), conv(3)),
    "valid": chain(conv(3, 2, "VALID"), conv(3, 1, "VALID")),
    "pools": chain(conv(3), pool(2, 2), conv(3), pool(3, 2, "SAME")),
    "residual": chain(conv(3), residual, conv(3, 2)),
    "scales side by side": chain(two_scales, conv(3)),
    "slices": chain(conv(3), slices, conv(3)),
    "channel first in between": chain(
        conv(3), lambda x: jnp.moveaxis(x, -1, 1), lambda x: jnp.moveaxis(x, 1, -1), conv(3)
    ),
    "padding by hand": chain(lambda x: jnp.pad(x, ((0, 0), (2, 0), (2, 0), (0, 0))), conv(3, 1, "VALID")),
    "slices by index": chain(conv(3), slices_by_index, slices_by_index),
    "space to depth": chain(conv(3), space_to_depth, conv(3)),
    "every third row": chain(conv(3), lambda x: x[:, np.arange(0, SIZE, 3)], conv(1)),
    "mirrored": chain(conv(2), lambda x: x[:, ::-1, ::-1], conv(3, 2)),
    "scanned": lambda x: jax.lax.scan(lambda c, _: (conv(3)(c)[..., :1], None), x, None, length=2)[0],
    "reversed order of layers": chain(pool(3, 3), conv(5, 1)),
}


def support(model, row, column):
    """The pixels on which a point depends: those with a gradient, as (top, left, bottom, right)."""
    image = jnp.zeros((1, SIZE, SIZE, 1))
    slope = np.asarray(jax.grad(lambda x: model(x)[0, row, column].sum())(image))[0, :, :, 0]
    rows, columns = np.flatnonzero(slope.any(1)), np.flatnonzero(slope.any(0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


@pytest.mark.parametrize("name", NETS)
def test_the_box_of_every_point_is_the_support_of_its_gradient(name):
    model = NETS[name]
    field = pwact.probe(model, jnp.zeros((1, SIZE, SIZE, 1))).sites["output"].receptive_field
    rows, columns = model(jnp.zeros((1, SIZE, SIZE, 1))).shape[1:3]
    places = {0, 1, rows // 2, rows - 1}
    for row in places:
        for column in {0, columns // 2, columns - 1}:
            assert field.box(row, column) == support(model, row, column), (row, column)


@pytest.mark.parametrize(
    ("layers", "size", "stride", "offset"),
    [
        ([conv(3)], 3, 1, -1),
        ([conv(3, 2, "VALID")], 3, 2, 0),
        ([conv(3), conv(3), conv(3)], 7, 1, -3),
        ([conv(7, 2, "VALID"), pool(3, 2)], 11, 4, 0),
        ([conv(3, 1, "VALID", dilation=2)], 5, 1, 0),
    ],
)
def test_size_stride_and_offset_of_textbook_chains(layers, size, stride, offset):
    field = pwact.probe(chain(*layers), jnp.zeros((1, SIZE, SIZE, 1))).sites["output"].receptive_field
    assert (field.size, field.stride, field.offset) == ((size,) * 2, (stride,) * 2, (offset,) * 2)


@pytest.mark.parametrize("form", ["lax", "slices"])
def test_both_forms_of_our_convolution_see_the_same(form):
    from flax import nnx

    layer = Conv(1, 2, 5, stride=2, form=form, rngs=nnx.Rngs(0))
    field = pwact.probe(layer, jnp.zeros((1, SIZE, SIZE, 1))).sites["output"].receptive_field
    assert (field.size, field.stride) == ((5, 5), (2, 2))
    assert field.box(4, 4) == (6, 6, 11, 11)


@pytest.mark.parametrize(
    "head",
    [
        lambda x: x.mean((1, 2)),
        lambda x: x.reshape(x.shape[0], -1) @ jnp.ones((SIZE * SIZE * 2, 3)),
        lambda x: x - x.mean((1, 2), keepdims=True),
    ],
)
def test_what_gathers_the_whole_map_sees_the_whole_image(head):
    probed = pwact.probe(chain(conv(3), head), jnp.zeros((1, SIZE, SIZE, 1)))
    assert str(probed.sites["output"].receptive_field) == "whole image"


@pytest.mark.parametrize(
    "resize",
    [
        lambda x: jax.image.resize(x, (x.shape[0], 34, 34, x.shape[3]), "bilinear"),
        lambda x: jax.image.resize(x, (x.shape[0], 34, 34, x.shape[3]), "nearest"),
        lambda x: jax.lax.conv_transpose(x, jnp.ones((3, 3, 2, 2)), (2, 2), "SAME"),
        lambda x: jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect"),
        lambda x: jax.lax.while_loop(lambda c: c.sum() > 9, lambda c: conv(3)(c), x),
    ],
)
def test_where_windows_do_not_move_by_steps_none_is_claimed(resize):
    probed = pwact.probe(chain(conv(3), resize, conv(3)), jnp.zeros((1, SIZE, SIZE, 1)))
    assert probed.sites["output"].receptive_field is None
    assert probed.sites["output"].is_map


def test_attention_weights_and_channels_first_are_no_maps():
    def tokens(x):
        x = conv(3)(x).reshape(x.shape[0], -1, 2, 1)
        scores = jnp.einsum("bqhc,bkhc->bhqk", x, x)
        return jax.nn.softmax(scores)

    assert not pwact.probe(tokens, jnp.zeros((1, 4, 4, 1))).sites["softmax"].is_map
    first = pwact.probe(lambda x: jnp.moveaxis(conv(3)(x), -1, 1), jnp.zeros((1, SIZE, SIZE, 1)))
    assert not first.sites["output"].is_map and first.sites["output"].receptive_field.size == (3, 3)
