"""A probe computes what the model computes, and captures what independent instruments see."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pwact
from pwact.errors import PwactError


class ResidualBlock(nnx.Module):
    def __init__(self, width, rngs):
        self.conv = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)

    def __call__(self, x):
        return x + jax.nn.relu(self.norm(self.conv(x)))


class ResNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(8, rngs) for _ in range(2)])
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x.mean((1, 2))))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x, train: bool = False):
        x = linen.relu(linen.Conv(6, (3, 3))(x))
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.Dense(7)(x.reshape(x.shape[0], -1))
        return linen.Dense(4)(linen.gelu(x))


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(0), (5, 8, 8, 3))


@pytest.fixture(scope="module")
def resnet():
    return ResNet(nnx.Rngs(0))


@pytest.fixture(scope="module")
def probed(resnet, images):
    return pwact.probe(resnet, images)


def test_sites_of_an_nnx_module_are_its_paths_and_functions(probed):
    names = [
        *("input", "stem", "relu"),
        *("blocks.0.conv", "blocks.0.norm", "blocks.0.relu", "blocks.0.add"),
        *("blocks.1.conv", "blocks.1.norm", "blocks.1.relu", "blocks.1.add"),
        *("mean", "head"),
    ]
    assert [name for name in names if name not in probed.sites] == []
    assert set(probed.sites) <= {*names, "blocks.0", "blocks.1", "drop", "output"}
    assert probed.sites["head"].name == probed.sites["output"].name
    assert probed.sites["blocks.0"].name == probed.sites["blocks.0.add"].name


def test_a_site_says_what_it_is(probed):
    site = probed.sites["blocks.0.conv"]
    assert site.operation == "Conv" and site.shape == (4, 4, 8) and site.dtype == jnp.float32
    assert site.is_map and site.batch_axis == 0 and site.bytes_per_image == 4 * 4 * 8 * 4
    assert not probed.sites["mean"].is_map
    depths = [each.depth for each in probed.sites.values()]
    assert depths == sorted(depths)


def test_no_edits_give_the_same_bits_as_the_model(resnet, probed, images):
    graph, variables = nnx.split(nnx.view(resnet, deterministic=True, use_running_average=True))
    direct = jax.jit(lambda v, x: nnx.merge(graph, v)(x))(variables, images)
    emitted, _ = jax.jit(probed.run)(probed.variables, images)
    np.testing.assert_array_equal(emitted, direct)


def test_the_module_is_left_as_it_was(resnet, images):
    before = jax.tree.leaves(nnx.state(resnet))
    pwact.probe(resnet, images)
    assert type(resnet) is ResNet and type(resnet.stem) is nnx.Conv
    assert resnet.drop.deterministic is False
    for left, right in zip(before, jax.tree.leaves(nnx.state(resnet)), strict=True):
        assert left is right


def test_captures_equal_a_copy_instrumented_by_hand(resnet, probed, images):
    model = nnx.view(resnet, deterministic=True, use_running_average=True)
    seen = {"input": images, "stem": model.stem(images)}
    x = seen["relu"] = jax.nn.relu(seen["stem"])
    for number, block in enumerate(model.blocks):
        seen[f"blocks.{number}.conv"] = block.conv(x)
        seen[f"blocks.{number}.norm"] = block.norm(seen[f"blocks.{number}.conv"])
        seen[f"blocks.{number}.relu"] = jax.nn.relu(seen[f"blocks.{number}.norm"])
        x = seen[f"blocks.{number}.add"] = x + seen[f"blocks.{number}.relu"]
    seen["mean"] = x.mean((1, 2))
    seen["head"] = model.head(seen["mean"])
    _, captured = probed.run(probed.variables, images, sites=list(seen))
    for name, value in seen.items():
        # Both run operation by operation, but jax fuses neither: rounding of float32 sums at most.
        np.testing.assert_allclose(captured[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_captures_of_linen_are_those_of_capture_intermediates(images):
    model = LinenNet()
    variables = model.init(jax.random.key(1), images)
    probed = pwact.probe(model, images, variables=variables)
    outputs, kept = jax.jit(lambda v, x: model.apply(v, x, capture_intermediates=True))(variables, images)
    names = ["Conv_0", "BatchNorm_0", "Dense_0", "Dense_1"]
    found, captured = jax.jit(lambda v, x: probed.run(v, x, sites=names))(variables, images)
    np.testing.assert_array_equal(found, outputs)
    for name in names:
        np.testing.assert_array_equal(
            captured[name], kept["intermediates"][name]["__call__"][0], err_msg=name
        )
    assert {"relu", "max_pool", "gelu"} <= set(probed.sites)


def test_capture_alone_computes_nothing_above_the_site(probed, images):
    def primitives(function):
        return [str(e.primitive) for e in jax.make_jaxpr(function)(probed.variables, images).eqns]

    below = primitives(lambda v, x: probed.capture(v, x, ["stem"]))
    assert below.count("conv_general_dilated") == 1 and "dot_general" not in below


def test_an_emitted_program_holds_no_mark_and_no_callback(probed, images):
    text = str(jax.make_jaxpr(lambda v, x: probed.run(v, x, sites=["stem"]))(probed.variables, images))
    assert "site[" not in text and "callback" not in text


@pytest.mark.parametrize("outputs", ["tuple", "dict"])
def test_any_pytree_may_be_returned(outputs, images):
    def model(image):
        features = jax.nn.relu(image - 0.5)
        logits = features.mean((1, 2))
        return (logits, features) if outputs == "tuple" else {"logits": logits, "features": features}

    probed = pwact.probe(model, images)
    found, captured = probed.run(None, images, sites=["relu"])
    assert jax.tree.structure(found) == jax.tree.structure(model(images))
    np.testing.assert_array_equal(jax.tree.leaves(found)[0], jax.tree.leaves(model(images))[0])
    np.testing.assert_array_equal(captured["relu"], jax.nn.relu(images - 0.5))


def test_bfloat16_and_several_inputs(images):
    def model(variables, image):
        both = jnp.concatenate([image["left"], image["right"]], axis=-1)
        return jnp.tanh(both @ variables)

    variables = jnp.ones((6, 2), jnp.bfloat16)
    image = {"left": images.astype(jnp.bfloat16), "right": images.astype(jnp.bfloat16)}
    probed = pwact.probe(model, image, variables=variables)
    outputs, captured = probed.run(variables, image, sites=["input[left]", "tanh"])
    assert captured["tanh"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(outputs, model(variables, image))


def test_a_plain_function_has_usable_sites(images):
    def model(variables, image):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(image, variables["a"], (1, 1), "SAME", dimension_numbers=dims)
        x = jnp.maximum(x, 0)
        x = jax.lax.conv_general_dilated(x, variables["b"], (2, 2), "SAME", dimension_numbers=dims)
        return jnp.maximum(x, 0).sum((1, 2)) @ variables["c"]

    variables = {"a": jnp.ones((3, 3, 3, 4)), "b": jnp.ones((3, 3, 4, 6)), "c": jnp.ones((6, 2))}
    probed = pwact.probe(model, images, variables=variables)
    assert list(probed.sites) == ["input", "conv", "relu", "conv@2", "relu@2", "sum", "dot"]
    assert probed.sites["relu@2"].shape == (4, 4, 6)


def test_shared_and_repeated_calls_have_distinct_names(images):
    class Shared(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 3, (3, 3), rngs=rngs)
            self.same = self.conv

        def __call__(self, x):
            return jax.nn.relu(self.same(jax.nn.relu(self.conv(self.conv(x)))))

    probed = pwact.probe(Shared(nnx.Rngs(0)), images)
    convs = [name for name, site in probed.sites.items() if site.operation == "Conv"]
    assert convs == ["conv", "conv@2", "conv@3"]
    assert [name for name in probed.sites if name.startswith("relu")] == ["relu", "relu@2"]


def test_names_given_by_the_author_are_sites(images):
    from jax.ad_checkpoint import checkpoint_name

    def model(image):
        with jax.named_scope("stem"):
            x = checkpoint_name(image * 2.0, "doubled")
            x = jnp.tanh(x)
        return x.mean((1, 2))

    probed = pwact.probe(model, images)
    assert "doubled" in probed.sites and "stem.tanh" in probed.sites
    np.testing.assert_array_equal(probed.run(None, images, sites=["doubled"])[1]["doubled"], images * 2)


def test_an_unknown_site_names_the_nearest_and_how_to_see_all(probed, images):
    with pytest.raises(PwactError, match=r"blocks\.0\.conv.*found 'blocks\.0\.con'.*probe\.sites"):
        probed.run(probed.variables, images, sites=["blocks.0.con"])


def test_a_site_asked_for_twice_is_an_error(probed, images):
    with pytest.raises(PwactError, match="each site once"):
        probed.run(probed.variables, images, sites=["stem", "stem"])


def test_evaluation_is_the_default_and_is_said(probed, resnet, images):
    assert probed.mode == "evaluation" and "evaluation mode" in repr(probed)
    training = pwact.probe(resnet, images, mode="training")
    assert "training mode" in repr(training)
    _, after = training.run(training.variables, images)[0]
    before, after = (dict(nnx.to_flat_state(state)) for state in (training.variables, after))
    path = ("blocks", 0, "norm", "mean")
    assert np.abs(np.asarray(after[path][...]) - np.asarray(before[path][...])).max() > 0


def test_training_mode_of_linen_returns_new_statistics(images):
    model = LinenNet()
    variables = model.init(jax.random.key(1), images)
    probed = pwact.probe(model, images, variables=variables, mode="training")
    (outputs, after), _ = probed.run(variables, images)
    expected, changed = model.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        after["batch_stats"],
        changed["batch_stats"],
    )


def test_a_linen_module_without_variables_is_an_error(images):
    with pytest.raises(PwactError, match=r"variables=module\.init"):
        pwact.probe(LinenNet(), images)
