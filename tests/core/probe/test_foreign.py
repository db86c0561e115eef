"""Networks of other JAX libraries, and Flax's own transformations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pwact

IMAGE = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))


def agrees(function, variables, image=IMAGE):
    probed = pwact.probe(function, image, variables=variables)
    direct = jax.jit(function)(variables, image)
    outputs, _ = jax.jit(probed.run)(variables, image)
    jax.tree.map(np.testing.assert_array_equal, outputs, direct)
    return probed


def test_haiku_resnet():
    hk = pytest.importorskip("haiku", reason="dm-haiku is not installed")
    net = hk.without_apply_rng(
        hk.transform_with_state(lambda x, training: hk.nets.ResNet18(10)(x, is_training=training))
    )
    params, state = net.init(jax.random.key(0), IMAGE, True)
    probed = agrees(lambda variables, x: net.apply(*variables, x, False)[0], (params, state))
    names = list(probed.sites)
    assert any("initial_conv" in name for name in names)
    assert sum(probed.sites[name].operation == "conv" for name in names) >= 17
    edits = {next(n for n in names if "initial_conv" in n): jnp.zeros_like}
    assert np.isfinite(probed.run((params, state), IMAGE, edits=edits)[0]).all()


def test_equinox_under_vmap():
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")
    keys = jax.random.split(jax.random.key(0), 3)
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 4, 3, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(4 * 7 * 7, 5, key=keys[1]),
        ]
    )
    params, static = eqx.partition(net, eqx.is_array)

    def function(variables, image):
        model = eqx.combine(variables, static)
        return jax.vmap(lambda x: model(jnp.moveaxis(x, -1, 0)))(image)

    probed = agrees(function, params)
    relu = next(name for name in probed.sites if name.endswith("relu"))
    conv = jax.vmap(lambda x: net[0](jnp.moveaxis(x, -1, 0)))(IMAGE)
    captured = probed.run(params, IMAGE, sites=[relu])[1][relu]
    np.testing.assert_allclose(captured, jax.nn.relu(conv), rtol=1e-5, atol=1e-6)


def test_linen_scan_and_remat():
    class Layer(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            return x + linen.relu(linen.Conv(3, (3, 3))(x)), None

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            stack = linen.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            x, _ = stack()(x, None)
            x = linen.remat(linen.Conv)(4, (3, 3))(x)
            return linen.Dense(2)(linen.relu(x).mean((1, 2)))

    model = Net()
    variables = model.init(jax.random.key(0), IMAGE)
    probed = agrees(lambda v, x: model.apply(v, x), variables)
    inside = [site for site in probed.sites.values() if site.when == "scan of 3"]
    assert inside and all(site.shape[0] == 3 for site in inside)
    by_module = pwact.probe(model, IMAGE, variables=variables)
    assert any(site.operation == "Conv" and not site.when for site in by_module.sites.values())


def test_nnx_sequential_and_attention():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.body = nnx.Sequential(nnx.Conv(3, 8, (3, 3), strides=4, rngs=rngs), jax.nn.gelu)
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.towers = nnx.Dict(left=nnx.Linear(8, 2, rngs=rngs), right=nnx.Linear(8, 2, rngs=rngs))

        def __call__(self, x):
            x = self.body(x)
            x = self.attention(x.reshape(x.shape[0], 16, 8))
            return self.towers["left"](x.mean(1)) + self.towers["right"](x.max(1))

    net = Net(nnx.Rngs(0))
    probed = pwact.probe(net, IMAGE)
    outputs, captured = probed.run(probed.variables, IMAGE, sites=["body.layers.0", "towers.left"])
    np.testing.assert_allclose(outputs, net(IMAGE), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(captured["body.layers.0"], net.body.layers[0](IMAGE), rtol=1e-5, atol=1e-6)
    assert {"attention", "towers.right", "output"} <= {*probed.sites, *_aliases(probed)}


def _aliases(probed):
    return {alias for site in probed.sites.values() for alias in site.aliases}


def test_a_model_that_closes_over_arrays():
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))

    def model(image):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=dims)
        return jax.nn.relu(x).mean((1, 2))

    probed = pwact.probe(model, IMAGE)
    np.testing.assert_allclose(probed.run(None, IMAGE)[0], model(IMAGE), rtol=1e-6)
