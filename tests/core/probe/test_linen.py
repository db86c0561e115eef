"""Linen: every module's result is what `capture_intermediates` stores, and by the same name."""

from __future__ import annotations

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

import pwact

IMAGE = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))


class Block(nn.Module):
    width: int
    strides: int
    norm: type | partial

    @nn.compact
    def __call__(self, x):
        y = nn.relu(self.norm()(nn.Conv(self.width, (3, 3), self.strides, use_bias=False)(x)))
        y = self.norm()(nn.Conv(self.width, (3, 3), use_bias=False)(y))
        if x.shape != y.shape:
            x = self.norm(name="norm_shortcut")(nn.Conv(self.width, (1, 1), self.strides, name="shortcut")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    strides: tuple[int, ...] = (1, 2)
    dtype: str = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, x, train: bool = True):
        norm = partial(nn.BatchNorm, use_running_average=not train, dtype=self.dtype)
        block = nn.remat(Block) if self.remat else Block
        x = nn.relu(norm(name="norm_stem")(nn.Conv(4, (3, 3), dtype=self.dtype, name="stem")(x)))
        x = nn.max_pool(x, (2, 2), (2, 2))
        for strides in self.strides:
            x = block(4 * strides, strides, norm)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x.mean((1, 2)))
        return nn.Dense(5, dtype=self.dtype)(x)


class Tied(nn.Module):
    """One convolution used three times, once from a method, and a list of others."""

    def setup(self):
        self.first = nn.Conv(3, (3, 3))
        self.branches = [nn.Conv(2, (size, size)) for size in (1, 3)]

    def features(self, x):
        return nn.relu(self.first(x))

    def __call__(self, x):
        x = self.first(self.features(self.features(x)))
        return {"all": jnp.concatenate([nn.tanh(branch(x)) for branch in self.branches], -1), "parts": (x,)}


MODELS = {
    "resnet": (ResNet(), {"train": False}),
    "bfloat16": (ResNet((2,), dtype="bfloat16"), {"train": False}),
    "remat": (ResNet((2,), remat=True), {"train": False}),
    "tied": (Tied(), {}),
    "sequential": (nn.Sequential([nn.Conv(4, (3, 3)), nn.gelu, nn.LayerNorm(), nn.Conv(2, (1, 1))]), {}),
}


def numbered(name, count):
    return name if count == 0 else f"{name}@{count + 1}"


@pytest.mark.parametrize("name", MODELS)
def test_every_intermediate_of_linen_is_a_site_with_its_bits(name):
    model, switches = MODELS[name]
    variables = model.init(jax.random.key(1), IMAGE, **switches)
    probed = pwact.probe(model, IMAGE, variables=variables)

    @jax.jit
    def linens(variables, x):
        return model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"], **switches)

    outputs, kept = linens(variables, IMAGE)
    wanted = {}
    for path, calls in traverse_util.flatten_dict(kept["intermediates"]).items():
        if path[-1] != "__call__" or path == ("__call__",):
            continue
        for count, value in enumerate(calls):
            wanted[numbered(".".join(path[:-1]), count)] = value
    assert [site for site in wanted if site not in probed.sites] == []
    found, captured = jax.jit(lambda v, x: probed.run(v, x, sites=list(wanted)))(variables, IMAGE)
    assert jax.tree.structure(found) == jax.tree.structure(outputs)
    jax.tree.map(np.testing.assert_array_equal, found, outputs)
    for site, value in wanted.items():
        assert captured[site].dtype == value.dtype
        # Storing other values beside them lets XLA fuse differently: float32 sums round, bfloat16 more.
        tolerance = 1e-6 if value.dtype == jnp.float32 else 2**-7
        np.testing.assert_allclose(
            np.asarray(captured[site], np.float32),
            np.asarray(value, np.float32),
            rtol=tolerance,
            atol=tolerance,
            err_msg=site,
        )
    direct = jax.jit(lambda v, x: model.apply(v, x, **switches))(variables, IMAGE)
    alone = jax.jit(lambda v, x: probed.run(v, x)[0])(variables, IMAGE)
    jax.tree.map(np.testing.assert_array_equal, alone, direct)


def test_a_scanned_stack_has_the_values_of_every_turn():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + nn.relu(nn.Conv(3, (3, 3))(x)), None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            stack = nn.scan(
                nn.remat(Layer),
                variable_axes={"params": 0, "intermediates": 0},
                split_rngs={"params": True},
                length=3,
            )
            return stack(name="stack")(x, None)[0].mean((1, 2))

    model = Net()
    variables = model.init(jax.random.key(1), IMAGE)
    probed = pwact.probe(model, IMAGE, variables=variables)
    _, kept = model.apply(variables, IMAGE, capture_intermediates=True, mutable=["intermediates"])
    outputs, captured = jax.jit(lambda v, x: probed.run(v, x, sites=["stack.Conv_0"]))(variables, IMAGE)
    expected = kept["intermediates"]["stack"]["Conv_0"]["__call__"][0]
    assert expected.shape == (3, 2, 8, 8, 3)
    np.testing.assert_allclose(captured["stack.Conv_0"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs, model.apply(variables, IMAGE), rtol=1e-5, atol=1e-6)
    assert probed.sites["stack.Conv_0"].when == "scan of 3"
    edited, _ = probed.run(variables, IMAGE, edits={"stack.Conv_0": jnp.zeros_like})
    np.testing.assert_allclose(edited, IMAGE.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_a_network_of_sixty_layers_is_probed_about_as_fast_as_it_is_traced():
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(60):
                x = nn.relu(x + nn.Conv(3, (3, 3))(x))
            return x.mean((1, 2))

    model = Deep()
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGE)

    def seconds(work):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    tracing = min(seconds(lambda: jax.make_jaxpr(model.apply)(variables, IMAGE)) for _ in range(2))
    probed = pwact.probe(model, IMAGE, variables=variables)
    probing = min(seconds(lambda: pwact.probe(model, IMAGE, variables=variables)) for _ in range(2))
    assert len(probed.sites) == 182
    # About 2.5 times, and 8 with the type checks of these tests; it grows with the depth, not its square.
    assert probing < 30 * tracing
