"""Methods in a configuration: text, own objects, files; and the networks that there were before."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pwact
from pwact.errors import PwactError
from pwact.models import ModelConfig, build
from pwact.nn import Conv, Pool, activations, layers, norms

BASE = ModelConfig((9, 8, 3), 5, widths=(4, 6), strides=(2, 1))


class Before(nnx.Module):
    """A block as it was written before there were doors."""

    def __init__(self, config, place, rngs):
        inside = (config.image_shape[2], *config.widths)[place]
        width, stride = config.widths[place], config.strides[place]
        size = config.kernel_size if place else config.first_kernel_size
        self.conv = Conv(
            inside,
            width,
            size,
            stride=stride if config.pooling == "stride" else 1,
            use_bias=config.norm == "none",
            rngs=rngs,
        )
        made = {
            "none": lambda: None,
            "batch": lambda: nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
            "group": lambda: nnx.GroupNorm(width, num_groups=math.gcd(width, 8), rngs=rngs),
            "layer": lambda: nnx.LayerNorm(width, rngs=rngs),
        }
        self.norm = made[config.norm]()
        self.pool = Pool(config.pooling, stride) if config.pooling != "stride" and stride > 1 else None

    def __call__(self, x):
        x = self.conv(x)
        x = jax.nn.relu(x if self.norm is None else self.norm(x))
        return x if self.pool is None else self.pool(x)


class NetworkBefore(nnx.Module):
    def __init__(self, config, rngs):
        self.blocks = nnx.List([Before(config, place, rngs) for place in range(len(config.widths))])
        self.head = nnx.Linear(config.widths[-1], config.num_classes, rngs=rngs)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


@pytest.mark.parametrize(
    ("norm", "pooling"), [("none", "max"), ("batch", "stride"), ("group", "average"), ("layer", "stride")]
)
def test_networks_of_the_old_fields_keep_every_bit_and_every_site(norm, pooling):
    config = dataclasses.replace(BASE, norm=norm, pooling=pooling)
    new, old = build(config, 3), NetworkBefore(config, nnx.Rngs(params=3))
    variables = [dict(nnx.to_flat_state(nnx.state(model))) for model in (new, old)]
    assert list(variables[0]) == list(variables[1])
    for path, leaf in variables[0].items():
        np.testing.assert_array_equal(leaf[...], variables[1][path][...])
    new.eval(), old.eval()
    x = jax.random.normal(jax.random.key(0), (4, 9, 8, 3))
    np.testing.assert_array_equal(*jax.jit(lambda x: (new(x), old(x)))(x))
    assert list(pwact.probe(new, x).sites) == list(pwact.probe(old, x).sites)


def test_old_names_are_kept_and_equal():
    assert BASE.norm == "batch" and BASE.layer == "conv" and BASE.activation == "relu"
    for same in ("batch", "batch()", " batch( )", norms.batch()):
        other = dataclasses.replace(BASE, norm=same)
        assert other == BASE and hash(other) == hash(BASE) and other.norm == "batch"
    assert json.loads(BASE.to_json()) == {
        "image_shape": [9, 8, 3],
        "num_classes": 5,
        "widths": [4, 6],
        "strides": [2, 1],
        "kernel_size": 3,
        "first_kernel_size": 5,
        "norm": "batch",
        "pooling": "stride",
        "head": "gap",
        "layer": "conv",
        "activation": "relu",
    }


def test_equal_methods_are_equal_however_they_are_written():
    texts = ("weight_align", "weight_align('he')", "weight_align(epsilon=1e-05)", norms.weight_align())
    found = {dataclasses.replace(BASE, norm=text) for text in texts}
    assert len(found) == 1
    config = dataclasses.replace(
        BASE,
        norm="stack(weight_align(), batch())",
        layer="quadratic(sign=1.0)",
        activation="leaky_relu(slope=0.2)",
    )
    assert ModelConfig.from_json(config.to_json()) == config
    assert config.method("norm") is norms.stack(norms.weight_align(), norms.batch())
    assert config.method("layer") is layers.quadratic(sign=1.0)
    assert config.method("activation") is activations.leaky_relu(slope=0.2)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("norm", "bath", "norm as one of: .* found 'bath'; nearest: batch"),
        ("norm", "weight_align(epsilon=-1.0)", "norm as epsilon of 0 or more"),
        ("norm", "batch(3)", "norm as arguments that batch takes"),
        ("norm", "batch+group", "norm as a name, or a call"),
        ("layer", "quadric", "layer as one of: conv, quadratic; found 'quadric'; nearest: quadratic"),
        ("activation", "rellu", "activation as one of: .* found 'rellu'; nearest: relu"),
    ],
)
def test_unknown_methods_are_refused_with_the_nearest(field, text, message):
    with pytest.raises(PwactError, match=message):
        dataclasses.replace(BASE, **{field: text})


def double():
    return norms.Norm(lambda channels, rngs: Double(), None, True)


class Double(nnx.Module):
    def __call__(self, x):
        return 2 * x


def test_an_own_norm_enters_but_no_file_gives_it_back():
    own = dataclasses.replace(BASE, norm=double(), activation=activations.Activation(_cube))
    assert own != BASE and own == own
    sites = pwact.probe(build(own, 0), jnp.ones((1, 9, 8, 3))).sites
    assert "blocks.0.norm" in sites
    text = own.to_json()
    assert "double" in json.loads(text)["norm"]
    with pytest.raises(PwactError, match="config="):
        ModelConfig.from_json(text)


def _cube(channels, rngs):
    return functools.partial(jax.lax.integer_pow, y=3)


def test_a_kernel_that_is_normed_leaves_the_sites_as_they_are():
    plain = pwact.probe(build(BASE, 0), jnp.ones((1, 9, 8, 3))).sites
    for text in (
        "stack(weight_align(), batch())",
        "bnsr",
        "stack(stack(weight_align(), weight_align()), batch())",
    ):
        config = dataclasses.replace(BASE, norm=text)
        assert list(pwact.probe(build(config, 0), jnp.ones((1, 9, 8, 3))).sites) == list(plain)
