"""Configurations are checked, readable and complete; the networks are what they say."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pwact
from pwact.errors import PwactError
from pwact.models import ModelConfig, build, parameters, quick, small_receptive_field

SMALL = ModelConfig((9, 8, 3), 5, widths=(4, 6), strides=(2, 1))


@pytest.mark.parametrize("norm", ["none", "batch", "group", "layer"])
@pytest.mark.parametrize("pooling", ["stride", "max", "average"])
@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_every_combination_is_what_its_numbers_say(norm, pooling, head):
    config = dataclasses.replace(SMALL, norm=norm, pooling=pooling, head=head)
    shapes = jax.eval_shape(lambda: nnx.state(build(config, 0), nnx.Param))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters(config)
    model = nnx.eval_shape(lambda: build(config, 0))
    model.eval()
    graph, state = nnx.split(model)
    logits = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, jnp.zeros((2, 9, 8, 3)))
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("pooling", ["stride", "max"])
def test_sites_have_the_promised_names_and_shapes(pooling):
    config = dataclasses.replace(SMALL, pooling=pooling)
    sites = pwact.probe(build(config, 0), jnp.zeros((1, 9, 8, 3))).sites
    wanted = {"blocks.0.conv", "blocks.0.norm", "blocks.0.relu", "blocks.1.conv", "blocks.1.relu", "head"}
    assert wanted <= set(sites)
    assert ("blocks.0.pool" in sites) == (pooling == "max")
    assert sites["blocks.0.relu"].shape == ((9, 8, 4) if pooling == "max" else (5, 4, 4))
    assert config.map_shapes == (
        ((4, 4, 4) if pooling == "max" else (5, 4, 4)),
        (*config.map_shapes[0][:2], 6),
    )


def test_logits_against_a_network_written_by_hand():
    config = dataclasses.replace(SMALL, norm="none", pooling="average")
    model = build(config, 3)
    logits = jax.jit(model.__call__)
    x = jax.random.normal(jax.random.key(0), (4, 9, 8, 3))

    def conv(x, layer):
        y = jax.lax.conv_general_dilated(
            x, layer.kernel[...], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return np.maximum(np.asarray(y, np.float64) + np.asarray(layer.bias[...]), 0)

    first = conv(x, model.blocks[0].conv)[:, :8].reshape(4, 4, 2, 4, 2, 4).mean((2, 4))
    last = conv(jnp.asarray(first, jnp.float32), model.blocks[1].conv)
    exact = last.mean((1, 2)) @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    # Two float32 convolutions of at most 100 products of order 1.
    np.testing.assert_allclose(logits(x), exact, atol=1e-5)


def test_forms_share_variables_and_agree():
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    one, other = build(SMALL, 1), build(SMALL, 1, form="slices")
    one.eval(), other.eval()
    assert jax.tree.structure(nnx.state(one)) == jax.tree.structure(nnx.state(other))
    np.testing.assert_allclose(*jax.jit(lambda x: (one(x), other(x)))(x), atol=1e-5)


def test_the_seed_decides_the_variables():
    states = [nnx.state(build(SMALL, seed)) for seed in (0, jax.random.key(0), nnx.Rngs(params=0), 1)]
    kernels = [state["blocks"][0]["conv"]["kernel"][...] for state in states]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert (kernels[0] != kernels[3]).any()


@pytest.mark.parametrize(
    "config", [quick((28, 28, 1), 10), small_receptive_field((28, 28, 1), 10), SMALL], ids=str
)
def test_receptive_field_is_where_gradients_reach(config):
    config = dataclasses.replace(config, norm="none")
    model = build(config, 0)
    image = jax.random.normal(jax.random.key(1), (1, *config.image_shape))

    def middle(image):
        x = image
        for block in model.blocks:
            x = jnp.sin(block.conv(x))  # a smooth stand-in for ReLU: no gradient is lost to a dead unit
        return x[0, x.shape[1] // 2, x.shape[2] // 2].sum()

    reached = np.abs(np.asarray(jax.jit(jax.grad(middle))(image)))[0].max(-1) > 0
    extent = [np.ptp(np.flatnonzero(reached.any(axis))) + 1 for axis in (0, 1)]
    assert max(extent) == min(config.receptive_fields[-1], max(config.image_shape[:2]))


def test_a_point_of_the_small_network_sees_nine_pixels():
    assert small_receptive_field((28, 28, 1), 10).receptive_fields[-1] == 9
    assert small_receptive_field((8, 8, 1), 10).receptive_fields[-1] == 5


def test_quick_keeps_a_map_of_a_useful_size_in_the_middle():
    assert quick((28, 28, 1), 10).map_shapes[1] == (7, 7, 32)
    assert quick((24, 24, 1), 3).map_shapes[1] == (6, 6, 32)
    assert quick((8, 8, 1), 10).map_shapes[1] == (4, 4, 32)


def test_json_is_readable_and_complete():
    text = SMALL.to_json()
    assert json.loads(text)["widths"] == [4, 6]
    assert ModelConfig.from_json(text) == SMALL
    assert ModelConfig.from_json('{"image_shape": [8, 8, 1], "num_classes": 2}') == ModelConfig((8, 8, 1), 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "configuration in JSON"),
        ("[]", "found list"),
        ('{"num_classes": 3}', "found num_classes"),
        ('{"image_shape": [8, 8, 1], "num_classes": 2, "with": 1}', "found image_shape, num_classes, with"),
    ],
)
def test_json_that_is_no_configuration(text, message):
    with pytest.raises(PwactError, match=message):
        ModelConfig.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": ()}, "widths as positive"),
        ({"widths": (4, 0)}, "widths as positive"),
        ({"strides": (2,)}, "2 widths and 1 strides"),
        ({"strides": (0, 1)}, "strides as positive"),
        ({"num_classes": 0}, "num_classes of 1 or more"),
        ({"kernel_size": -3}, "kernel_size of 1 or more"),
        ({"image_shape": (0, 8, 3)}, "image_shape as positive"),
        ({"pooling": "max", "strides": (4, 4)}, "at least one point after strides"),
    ],
)
def test_configurations_that_make_no_network(change, message):
    with pytest.raises(PwactError, match=message):
        ModelConfig(**(dataclasses.asdict(SMALL) | change))


def test_values_of_a_wrong_type_as_a_user_sees_them():
    """In a process of its own: here the run-time type checks of the tests would speak first."""
    good = json.loads(SMALL.to_json())
    cases = {
        "norm as one of: batch, ": {"norm": "instance"},
        "pooling as one of: stride, max, average; found pooling=None": {"pooling": None},
        "head as one of: gap, flatten; found head='mlp'": {"head": "mlp"},
        "num_classes of 1 or more; found num_classes='ten'": {"num_classes": "ten"},
        "kernel_size of 1 or more; found kernel_size=2.5": {"kernel_size": 2.5},
        "image_shape as positive whole numbers; found image_shape='8x8'": {"image_shape": "8x8"},
        "image_shape as (row, column, channel); found (8, 8)": {"image_shape": [8, 8]},
        "widths as positive whole numbers; found widths=(4, 'six')": {"widths": [4, "six"]},
    }
    program = """
import json, sys
from pwact.errors import PwactError
from pwact.models import ModelConfig
for text in json.load(sys.stdin):
    try:
        ModelConfig.from_json(text)
    except PwactError as error:
        print(error)
"""
    texts = json.dumps([json.dumps(good | change) for change in cases.values()])
    run = subprocess.run(
        [sys.executable, "-c", program], input=texts, capture_output=True, text=True, check=True
    )
    for message, line in zip(cases, run.stdout.splitlines(), strict=True):
        assert line.startswith(f"expected {message}")
