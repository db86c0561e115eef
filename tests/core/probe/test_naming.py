"""Every value has the name that a reader of the model would give it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name

import pwact

IMAGE = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))


def names(model, image=IMAGE, **options):
    return list(pwact.probe(model, image, **options).sites)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 3, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.conv(x))

    def twice(self, x):
        return self(self(x))


class Host(nnx.Module):
    """Calls `forward` with itself and the image; holds two blocks and a stack of three."""

    def __init__(self, forward):
        self.blocks = nnx.List([Block(nnx.Rngs(seed)) for seed in range(2)])
        self.stack = nnx.vmap(lambda key: Block(nnx.Rngs(key)))(jax.random.split(jax.random.key(0), 3))
        self.forward = forward

    def __call__(self, x):
        return self.forward(self, x)


def hosted(forward):
    return names(Host(forward))


def test_modules_keep_their_paths_inside_a_jit_that_is_traced_once_for_both():
    @nnx.jit
    def apply(block, x):
        return block(x)

    found = hosted(lambda host, x: apply(host.blocks[1], apply(host.blocks[0], x)))
    assert found == ["input", "blocks.0.conv", "blocks.0.relu", "blocks.1.conv", "blocks.1.relu"]


def test_modules_keep_their_paths_inside_remat_and_vmap():
    def forward(host, x):
        x = nnx.remat(lambda block, x: block(x))(host.blocks[0], x)
        return nnx.vmap(lambda block, x: block(x), in_axes=(0, None))(host.stack, x).sum(0)

    assert hosted(forward) == [
        "input",
        "blocks.0.conv",
        "blocks.0.relu",
        "stack.conv",
        "stack.relu",
        "output",
    ]


def test_modules_keep_their_paths_inside_scan():
    def forward(host, x):
        step = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return step(x, host.stack)

    assert hosted(forward) == ["input", "stack.conv", "stack.relu", "scan"]


def test_a_second_call_and_a_call_in_a_branch_are_numbered():
    def forward(host, x):
        first, second = host.blocks
        x = first(first(x))
        return nnx.cond(x.sum() > 0, lambda a, b, x: a(x), lambda a, b, x: b(x), first, second, x)

    found = hosted(forward)
    assert found[1:5] == ["blocks.0.conv", "blocks.0.relu", "blocks.0.conv@2", "blocks.0.relu@2"]
    assert {"blocks.1.conv", "blocks.0.conv@3", "cond"} <= set(found)


def test_what_a_public_method_returned_is_found_under_its_name():
    probed = pwact.probe(Host(lambda host, x: host.blocks[1].twice(x)), IMAGE)
    assert probed.sites["blocks.1.twice"].name == probed.sites["blocks.1@2"].name == "blocks.1.relu@2"


def test_modules_win_over_operations_and_the_ends_over_modules():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dot = nnx.Linear(3, 3, rngs=rngs)
            self.output = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x):
            x = jnp.tanh(x @ jnp.ones((3, 3)))
            return self.output(self.dot(x)) * 2.0

    assert names(Net(nnx.Rngs(0))) == ["input", "dot@2", "tanh", "dot", "output@2", "output"]


def test_functions_that_jax_inlines_have_their_names_and_no_insides():
    def model(x):
        x = jax.nn.gelu(jax.nn.gelu(x))
        return jax.nn.softmax(linen.avg_pool(x, (2, 2), (2, 2)))

    assert names(model) == ["input", "gelu", "gelu@2", "avg_pool", "softmax"]


def test_the_inside_of_a_librarys_layer_is_not_named_and_that_of_a_users_is():
    class Gate(nnx.Module):
        def __init__(self, rngs):
            self.kernel = nnx.Param(jnp.ones((3, 3)))

        def __call__(self, x):
            return x * jax.nn.sigmoid(x @ self.kernel[...])

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.GroupNorm(3, num_groups=1, rngs=rngs)
            self.gate = Gate(rngs)

        def __call__(self, x):
            return self.gate(self.norm(x))

    assert names(Net(nnx.Rngs(0))) == ["input", "norm", "gate.dot", "gate.sigmoid", "gate"]


def test_calls_of_one_private_function_with_scopes_are_told_apart():
    @jax.jit
    def _block(x):
        with jax.named_scope("block"):
            return jnp.tanh(x @ jnp.ones((3, 3))) * 2.0

    found = names(lambda x: _block(_block(x)))
    assert found == [
        "input",
        *("block.dot", "block.tanh", "block"),
        *("block.dot@2", "block.tanh@2", "block@2"),
    ]


def test_a_model_that_is_itself_jitted_gives_its_name_to_nothing():
    @jax.jit
    def network(x):
        return jnp.tanh(x @ jnp.ones((3, 2)))

    assert names(network) == ["input", "dot", "tanh"]


def test_a_name_given_in_a_module_is_found_alone_and_under_its_path():
    class Named(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 3, (3, 3), rngs=rngs)

        def __call__(self, x):
            return checkpoint_name(self.conv(x), "features") * 2.0

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.parts = nnx.List([Named(rngs), Named(rngs)])

        def __call__(self, x):
            return self.parts[1](self.parts[0](x))

    sites = pwact.probe(Net(nnx.Rngs(0)), IMAGE).sites
    assert sites["parts.1.features"].name == sites["parts.1.conv"].name == "features@2"


def test_a_value_that_is_read_inside_a_module_is_not_what_the_module_returned():
    class Leaky(nnx.Module):
        def __call__(self, x):
            features = nnx.relu(x)
            return features, features.mean((1, 2))

    class Net(nnx.Module):
        def __init__(self):
            self.leaky = Leaky()

        def __call__(self, x):
            features, mean = self.leaky(x)
            return features.sum((1, 2)) + mean

    probed = pwact.probe(Net(), IMAGE)
    zeroed = [
        probed.run(probed.variables, IMAGE, edits={n: jnp.zeros_like})[0] for n in ("leaky.relu", "leaky[0]")
    ]
    np.testing.assert_array_equal(zeroed[0], 0.0)
    np.testing.assert_allclose(zeroed[1], nnx.relu(IMAGE).mean((1, 2)), rtol=1e-6)


def test_images_scanned_one_by_one_have_their_axis_first():
    kernel = jnp.ones((3, 2))
    probed = pwact.probe(lambda x: jax.lax.map(lambda im: jax.nn.relu(im @ kernel).mean((0, 1)), x), IMAGE)
    site = probed.sites["relu"]
    assert (site.batch_axis, site.shape) == (0, (4, 4, 2))
    image = jnp.concatenate([IMAGE, IMAGE])
    captured = probed.run(None, image, sites=["relu"])[1]["relu"]
    np.testing.assert_allclose(captured, jax.nn.relu(image @ kernel), rtol=1e-6)


def test_linen_modules_inside_functions_and_nnx_modules_nest():
    dense = linen.Dense(2)
    variables = dense.init(jax.random.key(0), IMAGE)

    class Stage(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.relu(linen.Dense(2)(x))

    stage = Stage()
    stage_variables = stage.init(jax.random.key(0), IMAGE)

    def model(v, x):
        with jax.named_scope("stage"):
            return stage.apply(v, x)

    assert names(model, variables=stage_variables) == ["input", "stage.Dense_0", "stage.relu"]
    assert names(lambda v, x: jnp.tanh(dense.apply(v, x)), variables=variables)[-1] == "tanh"

    class Bridged(nnx.Module):
        def __init__(self, rngs):
            self.inner = nnx.bridge.ToNNX(Stage(), rngs=rngs).lazy_init(IMAGE)

        def __call__(self, x):
            return self.inner(x)

    assert {"inner.Dense_0", "inner.relu"} <= set(names(Bridged(nnx.Rngs(0))))


def test_a_shared_module_has_the_first_path_of_the_alphabet_in_every_copy():
    class Tied(nnx.Module):
        def __init__(self):
            self.zeta = Block(nnx.Rngs(0))
            self.alpha = self.zeta
            self.beta = Block(nnx.Rngs(1))
            self.beta.conv = self.zeta.conv

        def __call__(self, x):
            return self.beta(self.alpha(self.zeta(x)))

    tied = Tied()
    expected = [
        "input",
        "alpha.conv",
        "alpha.relu",
        "alpha.conv@2",
        "alpha.relu@2",
        "alpha.conv@3",
        "beta.relu",
    ]
    assert names(tied) == names(nnx.clone(tied)) == names(nnx.merge(*nnx.split(tied))) == expected
