"""Architectures are written, read back, named by a text, and may be a user's own."""

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
from pwact.models import (
    HMAX,
    VGG,
    Architecture,
    MobileNet,
    ModelConfig,
    ResNet,
    WideResNet,
    build,
    cifar_resnet,
    from_dict,
    from_text,
    mobilenet,
    own,
    quick,
    resnet,
    small_receptive_field,
    to_dict,
    vgg,
)

SHAPE = (32, 32, 3)
EVERY = [
    quick(SHAPE, 4),
    small_receptive_field(SHAPE, 4),
    resnet(SHAPE, 4, depth=50),
    cifar_resnet(SHAPE, 4, depth=32),
    vgg(SHAPE, 4, norm="batch"),
    WideResNet(SHAPE, 4, depth=10),
    mobilenet(SHAPE, 4, width=0.5),
    HMAX(SHAPE, 4),
]


@pytest.mark.parametrize("architecture", EVERY, ids=lambda each: type(each).__name__)
def test_written_and_read_back_it_is_equal(architecture):
    again = from_dict(json.loads(json.dumps(to_dict(architecture))))
    assert again == architecture and hash(again) == hash(architecture)
    assert isinstance(architecture, Architecture)


def test_every_class_of_the_zoo_can_be_read_back():
    classes = {
        name
        for name in pwact.models.__all__
        if dataclasses.is_dataclass(getattr(pwact.models, name)) and name != "Architecture"
    }
    assert classes == {type(each).__name__ for each in EVERY}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "kind as one of: HMAX, MobileNet, ModelConfig, ResNet, VGG, WideResNet; found None"),
        ({"kind": "ResNett"}, "found 'ResNett'; nearest: ResNet"),
        ({"kind": "build"}, "found 'build'"),
        ({"kind": "HMAX", "num_classes": 2}, "image_shape, num_classes and any of: bands"),
        (
            {"kind": "HMAX", "image_shape": [28, 28, 1], "num_classes": 2, "band": 1},
            "found band, image_shape",
        ),
        ({"kind": "HMAX", "image_shape": [9, 9, 1], "num_classes": 2}, "at least 16x16"),
        ({"kind": "ResNet", "image_shape": [28, 28, 1], "num_classes": 2, "norm": "gruop"}, "nearest: group"),
        ({"kind": "ModelConfig", "num_classes": 2}, "found num_classes"),
    ],
)
def test_records_that_are_no_architecture(record, message):
    with pytest.raises(PwactError, match=message):
        from_dict(record)


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("quick", quick(SHAPE, 4)),
        ("resnet(depth=34)", resnet(SHAPE, 4, depth=34)),
        ("WideResNet(depth=28, widen=10)", WideResNet(SHAPE, 4, depth=28, widen=10)),
        ("VGG(stages=((4,), (8,)), head='small')", VGG(SHAPE, 4, stages=((4,), (8,)), head="small")),
        ("ModelConfig(widths=(4, 8), strides=(2, 2))", ModelConfig(SHAPE, 4, widths=(4, 8), strides=(2, 2))),
    ],
)
def test_a_text_names_an_architecture(text, architecture):
    assert from_text(text, SHAPE, 4) == architecture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet(depth=20)", "depth as one of: 18, 34, 50, 101, 152; found depth=20"),
        ("resent", "found 'resent'; nearest: resnet"),
        ("build", "one of: HMAX, .*found 'build'"),
        ("vgg(deep=16)", "arguments that vgg takes"),
    ],
)
def test_texts_that_name_none(text, message):
    with pytest.raises(PwactError, match=message):
        from_text(text, SHAPE, 4)


class Mine(nnx.Module):
    """With dropout and BatchNorm, as users write them."""

    def __init__(self, width, *, rngs):
        self.conv = nnx.Conv(1, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(jax.nn.relu(self.norm(self.conv(x)))).mean((1, 2)))


def mine():
    return own(lambda rngs: Mine(4, rngs=rngs), (8, 8, 1), 3, name="mine")


def test_an_own_network_is_built_from_seeds_and_probed():
    one, same, other = (nnx.state(build(mine(), seed), nnx.Param) for seed in (0, jax.random.key(0), 1))
    np.testing.assert_array_equal(one["conv"]["kernel"][...], same["conv"]["kernel"][...])
    assert (one["conv"]["kernel"][...] != other["conv"]["kernel"][...]).any()
    probe = pwact.probe(build(mine(), 0), jnp.zeros((2, 8, 8, 1)))
    assert {"conv", "norm", "relu", "head"} <= set(probe.sites)
    seeds = jax.vmap(lambda key: nnx.state(build(mine(), key)))(jax.random.split(jax.random.key(0), 3))
    assert seeds["head"]["kernel"].shape == (3, 4, 3)


def test_random_streams_of_an_own_network_are_numbers_and_work():
    model = build(mine(), 0)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {
        jnp.dtype("float32"),
        jnp.dtype("uint32"),
    }
    model.train()
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    again = build(mine(), 0)
    again.train()
    one = model(x)
    np.testing.assert_array_equal(one, again(x))
    assert (model(x) != one).any(), "dropout draws anew in each call"


def test_an_own_network_is_described_alike_in_every_process():
    program = """
import functools, sys
from flax import nnx
from pwact.models import own, to_dict
class Small(nnx.Module):
    def __init__(self, width, *, rngs):
        self.head = nnx.Linear(3, width, rngs=rngs)
    def __call__(self, x):
        return self.head(x.mean((1, 2)))
for network in (functools.partial(Small, 2), lambda rngs: Small(2, rngs=rngs)):
    print(to_dict(own(network, (8, 8, 3), 2, name="small"))["network"])
"""
    one, two = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert one == two and len(one.splitlines()) == 2 and "0x" not in one


def test_an_own_network_is_one_object_and_no_file_holds_it():
    assert mine() is mine() and isinstance(mine(), Architecture)
    record = to_dict(mine())
    assert record == json.loads(json.dumps(record)), "a checkpoint compares it with what it has read"
    assert record["kind"] == "Own" and record["name"] == "mine"
    with pytest.raises(PwactError, match=r"the network 'mine' itself.*config=pwact\.models\.own"):
        from_dict(record)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: Mine(4, rngs=nnx.Rngs(0)), r"takes `rngs` alone; found .*\(\)"),
        (Mine, r"takes `rngs` alone.*width"),
        (lambda rngs: nnx.Linear(1, 2, rngs=rngs), r"logits \(2, 3\) of two images; found \(2, 8, 8, 2\)"),
        (lambda rngs: nnx.Linear(5, 2, rngs=rngs), r"runs on images \(8, 8, 1\); found TypeError"),
        (lambda rngs: nnx.BatchNorm, "makes an nnx.Module; found"),
    ],
)
def test_what_is_no_network_of_ones_own(network, message):
    with pytest.raises(PwactError, match=message):
        own(network, (8, 8, 1), 3, name="none")


def test_values_of_a_wrong_type_as_a_user_sees_them():
    """In a process of its own: here the run-time type checks of the tests would speak first."""
    cases = {
        "ResNet(depth=18)": "arguments that ResNet takes",
        "ResNet(block='deep')": "block as one of: basic, bottleneck; found block='deep'",
        "ResNet(widths=(4, 'six', 8))": "widths of positive whole numbers; found widths='six'",
        "VGG(stages=((8,),), head='mlp')": "head as one of: large, small; found head='mlp'",
        "HMAX(bands=1.5)": "bands of positive whole numbers; found bands=1.5",
    }
    program = """
import sys
from pwact.errors import PwactError
from pwact.models import from_text
for text in sys.stdin.read().splitlines():
    try:
        from_text(text, (32, 32, 3), 2)
    except PwactError as error:
        print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], input="\n".join(cases), capture_output=True, text=True, check=True
    )
    for message, line in zip(cases.values(), run.stdout.splitlines(), strict=True):
        assert line.startswith(f"expected {message}"), line


def test_two_networks_of_a_kind_are_told_apart():
    assert MobileNet(SHAPE, 4, widths=(4, 8), strides=(1, 2)) != MobileNet(SHAPE, 4, (4, 8), (1, 1))
    assert ResNet(SHAPE, 4) == ResNet(SHAPE, 4, shortcut="project")


def test_an_own_network_is_trained_saved_and_loaded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    data = pwact.data.arrays(pixels, np.arange(24) % 3, name="noise")
    recipe = pwact.train.Recipe(epochs=1, batch_size=8)
    trained = pwact.train.train(mine(), data, seeds=[0, 1], recipe=recipe, folder=tmp_path / "run")
    loaded = pwact.train.load_checkpoint(tmp_path / "run", config=mine())
    assert loaded.config == mine()
    for one, other in zip(jax.tree.leaves(trained.at(1)), jax.tree.leaves(loaded.at(1)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(PwactError, match="pass it unchanged"):
        pwact.train.load_checkpoint(tmp_path / "run")


def test_training_leaves_fixed_kernels_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), np.uint8)
    data = pwact.data.arrays(pixels, np.arange(24) % 3, name="noise")
    recipe = pwact.train.Recipe(epochs=1, batch_size=8)
    config = HMAX((16, 16, 1), 3, bands=1, templates=4)
    before, after = (
        pwact.train.train(config, data, seeds=[0], recipe=recipe, treatment=treatment).at(0)
        for treatment in ("untrained", "trained")
    )
    for (path, one), other in zip(nnx.to_flat_state(before), jax.tree.leaves(after), strict=True):
        assert bool((one[...] == other).all()) == (path[0] != "head"), path
