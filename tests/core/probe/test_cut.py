"""A cut computes every operation on one side, and only what must cross does."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import pwact

IMAGE = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))


class Bottleneck(linen.Module):
    width: int
    strides: int = 1

    @linen.compact
    def __call__(self, x):
        y = linen.relu(linen.Conv(self.width, (1, 1))(x))
        y = linen.relu(linen.Conv(self.width, (3, 3), self.strides)(y))
        y = linen.Conv(2 * self.width, (1, 1))(y)
        if x.shape != y.shape:
            x = linen.Conv(2 * self.width, (1, 1), self.strides, name="shortcut")(x)
        return linen.relu(x + y)


class ResNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.max_pool(linen.relu(linen.Conv(4, (3, 3), 2, name="stem")(x)), (2, 2), (2, 2))
        for strides in (1, 1, 2):
            x = Bottleneck(4, strides)(x)
        return linen.Dense(5)(x.mean((1, 2)))


@pytest.fixture(scope="module")
def resnet():
    model = ResNet()
    variables = model.init(jax.random.key(1), IMAGE)
    return pwact.probe(model, IMAGE, variables=variables)


def heavy(jaxpr):
    """How often each operation with weights, and each pool, is computed."""
    names = (str(equation.primitive) for equation in jaxpr.eqns)
    return Counter(
        name for name in names if name.startswith(("conv_general", "dot_general", "reduce_window"))
    )


def test_what_is_computed_below_and_above_is_the_model_once(resnet):
    whole = heavy(jax.make_jaxpr(lambda v, x: resnet.run(v, x)[0])(resnet.variables, IMAGE))
    assert whole["conv_general_dilated"] == 12
    for site in resnet.sites:
        cut = resnet.cut(site)
        below, crossing = jax.make_jaxpr(cut.below, return_shape=True)(resnet.variables, IMAGE)
        above = jax.make_jaxpr(cut.above)(resnet.variables, *crossing)
        assert heavy(below) + heavy(above) == whole, site


def test_what_crosses_is_the_skip_connection_and_no_more(resnet):
    def rest(site):
        return jax.eval_shape(resnet.cut(site).below, resnet.variables, IMAGE)[1]

    assert [value.shape for value in rest("Bottleneck_1.Conv_0")] == [(3, 4, 4, 8)]
    assert [value.shape for value in rest("Bottleneck_2.Conv_2")] == [(3, 2, 2, 8)]
    alone = [
        "input",
        "stem",
        "max_pool",
        "Bottleneck_0",
        "Bottleneck_1",
        "Bottleneck_2.add",
        "mean",
        "output",
    ]
    assert {site: rest(site) for site in alone} == {site: () for site in alone}


def test_a_cut_and_an_edit_say_the_same_at_every_site_of_another_batch_size(resnet):
    image = jax.random.normal(jax.random.key(2), (2, 16, 16, 3))

    @jax.jit
    def both(variables, image):
        answers = {}
        for site in resnet.sites:
            cut = resnet.cut(site)
            activation, rest = cut.below(variables, image)
            edited, _ = resnet.run(variables, image, edits={site: lambda a: 0.5 * a + 0.1})
            answers[site] = cut.above(variables, 0.5 * activation + 0.1, rest), edited
        return answers

    for site, (cut, edited) in both(resnet.variables, image).items():
        np.testing.assert_allclose(cut, edited, rtol=1e-4, atol=1e-5, err_msg=site)
    assert resnet.traces == 1


def test_a_value_without_a_batch_axis_is_cut_for_any_number_of_images():
    def centred(v, x):
        y = x @ v
        with jax.named_scope("centre"):
            centre = y.mean((0, 1, 2))
        return jnp.tanh(y - centre.reshape(1, 1, 1, 2))

    kernel = jnp.arange(6.0).reshape(3, 2)
    probed = pwact.probe(centred, IMAGE, variables=kernel)
    assert probed.sites["centre"].batch_axis is None
    cut = probed.cut("centre")
    for batch in (1, 4):
        image = jax.random.normal(jax.random.key(batch), (batch, 16, 16, 3))
        activation, rest = cut.below(kernel, image)
        assert activation.shape == (2,)
        np.testing.assert_allclose(
            cut.above(kernel, activation, rest), centred(kernel, image), rtol=1e-6, atol=1e-6
        )


def test_a_cut_inside_jit_remat_and_custom_rules():
    @jax.custom_jvp
    def rule(x):
        return jnp.sin(x) * 2.0

    rule.defjvp(lambda primals, tangents: (rule(*primals), tangents[0]))

    @jax.jit
    def stage(x):
        return rule(jnp.tanh(x) + x)

    def model(x):
        return jax.checkpoint(lambda x: jax.nn.relu(stage(x)) + 1.0)(x * 0.5).sum((1, 2))

    probed = pwact.probe(model, IMAGE)
    assert {"stage.tanh", "stage.rule", "relu"} <= {*probed.sites, *probed.sites["stage.rule"].aliases}
    expected = model(IMAGE)
    for site in probed.sites:
        cut = probed.cut(site)
        outputs = cut.above(None, *cut.below(None, IMAGE))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5, err_msg=site)
    slope = jax.grad(lambda a: probed.cut("stage.add").above(None, a, ()).sum())(
        probed.capture(None, IMAGE, ["stage.add"])["stage.add"]
    )
    inner = jnp.tanh(IMAGE * 0.5) + IMAGE * 0.5
    np.testing.assert_allclose(slope, (jnp.sin(inner) > 0).astype(float), rtol=1e-6)
