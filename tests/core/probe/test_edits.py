"""Edits reach everything that follows, under every transformation; a cut computes the rest once."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pwact
from pwact.errors import PwactError


class Net(nnx.Module):
    """Two convolutions and a skip connection around the second."""

    def __init__(self, rngs):
        self.first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.second = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.first(x))
        return self.head((x + jax.nn.relu(self.second(x))).mean((1, 2)))


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(0), (4, 6, 6, 3))


@pytest.fixture(scope="module")
def net():
    return Net(nnx.Rngs(0))


@pytest.fixture(scope="module")
def probed(net, images):
    return pwact.probe(net, images)


def by_hand(net, images, edit):
    """The network with its second convolution's rectified map edited."""
    x = jax.nn.relu(net.first(images))
    return net.head((x + edit(jax.nn.relu(net.second(x)))).mean((1, 2)))


SITE = "relu@2"


def test_an_edit_equals_the_network_rewritten_by_hand(net, probed, images):
    for edit in (jnp.zeros_like, lambda a: a.at[..., 1].set(3.0), lambda a: a[:, ::-1]):
        outputs, captured = probed.run(probed.variables, images, sites=[SITE, "add"], edits={SITE: edit})
        np.testing.assert_allclose(outputs, by_hand(net, images, edit), rtol=1e-5, atol=1e-6)
        x = jax.nn.relu(net.first(images))
        np.testing.assert_allclose(captured[SITE], edit(jax.nn.relu(net.second(x))), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(captured["add"], x + captured[SITE], rtol=1e-5, atol=1e-6)


def test_an_identity_edit_changes_no_bit(probed, images):
    edited = jax.jit(lambda v, x: probed.run(v, x, edits={SITE: lambda a: a})[0])
    plain = jax.jit(lambda v, x: probed.run(v, x)[0])
    np.testing.assert_array_equal(edited(probed.variables, images), plain(probed.variables, images))


def test_several_edits_act_together(probed, images):
    zero = {"relu": jnp.zeros_like, SITE: jnp.zeros_like}
    outputs, _ = probed.run(probed.variables, images, edits=zero)
    head = probed.variables["head"]
    np.testing.assert_allclose(outputs, np.broadcast_to(head["bias"][...], outputs.shape), rtol=1e-6)


def test_the_input_is_a_site(net, probed, images):
    outputs, _ = probed.run(probed.variables, images, edits={"input": lambda x: x * 0.5})
    np.testing.assert_allclose(outputs, net(images * 0.5), rtol=1e-5, atol=1e-6)


def test_a_thousand_edits_compute_the_part_below_once(net, probed, images):
    cut = probed.cut(SITE)
    scales = jnp.linspace(-2, 2, 1000)

    def all_at_once(variables, x):
        activation, rest = cut.below(variables, x)
        return jax.vmap(lambda scale: cut.above(variables, scale * activation, rest))(scales)

    outputs = jax.jit(all_at_once)(probed.variables, images)
    for place in (0, 499, 999):
        expected = by_hand(net, images, lambda a, s=scales[place]: s * a)
        np.testing.assert_allclose(outputs[place], expected, rtol=1e-4, atol=1e-5)
    equations = jax.make_jaxpr(all_at_once)(probed.variables, images).eqns
    convs = [e.outvars[0].aval.shape for e in equations if str(e.primitive) == "conv_general_dilated"]
    assert convs == [(4, 6, 6, 4), (4, 6, 6, 4)], "no convolution has the axis of the edits"


def test_the_rest_is_the_skip_connection_alone(probed, images):
    _, rest = probed.cut(SITE).below(probed.variables, images)
    assert [value.shape for value in rest] == [(4, 6, 6, 4)]
    _, nothing = probed.cut("first").below(probed.variables, images)
    assert nothing == ()


def test_below_computes_nothing_above_and_above_nothing_below(probed, images):
    cut = probed.cut(SITE)
    activation, rest = cut.below(probed.variables, images)
    below = str(jax.make_jaxpr(cut.below)(probed.variables, images))
    above = str(jax.make_jaxpr(cut.above)(probed.variables, activation, rest))
    assert below.count("conv_general_dilated") == 2 and "dot_general" not in below
    assert above.count("conv_general_dilated") == 0 and above.count("dot_general") == 1


def test_below_then_above_is_the_model_at_every_site(net, probed, images):
    expected = net(images)
    for name in probed.sites:
        cut = probed.cut(name)
        outputs = cut.above(probed.variables, *cut.below(probed.variables, images))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_gradients_pass_through_edits_and_keep_custom_rules(net, probed, images):
    def probed_loss(scale):
        return probed.run(probed.variables, images, edits={SITE: lambda a: scale * a})[0].sum()

    def hand_loss(scale):
        return by_hand(net, images, lambda a: scale * a).sum()

    np.testing.assert_allclose(jax.grad(probed_loss)(0.7), jax.grad(hand_loss)(0.7), rtol=1e-4)

    activation, rest = probed.cut(SITE).below(probed.variables, images)
    at_site = jax.grad(lambda a: probed.cut(SITE).above(probed.variables, a, rest)[:, 0].sum())(activation)
    kernel = np.asarray(probed.variables["head"]["kernel"][...])[:, 0] / 36
    np.testing.assert_allclose(at_site, np.broadcast_to(kernel, at_site.shape), rtol=1e-5)


def test_the_derivative_of_relu_at_zero_stays_that_of_jax(images):
    probed = pwact.probe(lambda image: jax.nn.relu(image).sum((1, 2, 3)), images)
    zero = jnp.zeros_like(images)
    for sites in ((), ("relu",)):
        slope = jax.grad(lambda x, sites=sites: probed.run(None, x, sites=sites)[0].sum())(zero)
        np.testing.assert_array_equal(slope, 0.0)


@jax.custom_jvp
def ruled(x):
    return jnp.sin(jnp.tanh(x)) * 2.0


ruled.defjvp(lambda primals, tangents: (ruled(*primals), 7.0 * tangents[0]))


@jax.custom_vjp
def ruled_backward(x):
    return jnp.sin(jnp.tanh(x)) * 2.0


ruled_backward.defvjp(lambda x: (ruled_backward(x), None), lambda _, g: (7.0 * g,))


@pytest.mark.parametrize("function", [ruled, ruled_backward])
def test_an_edit_inside_a_rule_is_differentiated_by_the_body(function):
    probed = pwact.probe(lambda x: function(x).sum((1, 2, 3)), jnp.ones((2, 3, 3, 2)))
    inner = f"{function.__name__}.tanh"
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 2))

    def slope(x, **how):
        return jax.grad(lambda x: probed.run(None, x, **how)[0].sum())(x)

    rule = np.full(x.shape, 7.0)
    np.testing.assert_allclose(slope(x), rule)
    np.testing.assert_allclose(slope(x, sites=[inner]), rule, err_msg="a capture leaves the rule")
    np.testing.assert_allclose(slope(x, edits={function.__name__: lambda a: 3 * a}), 3 * rule)
    wide = np.asarray(x, np.float64)
    for scale in (1.0, 0.5):
        body = 2 * np.cos(scale * np.tanh(wide)) * scale * (1 - np.tanh(wide) ** 2)
        edited = slope(x, edits={inner: lambda a, scale=scale: scale * a})
        np.testing.assert_allclose(edited, body, rtol=1e-4, atol=1e-6)
    captured = jax.grad(lambda x: probed.run(None, x, sites=[inner])[1][inner].sum())(x)
    np.testing.assert_allclose(captured, 1 - np.tanh(wide) ** 2, rtol=1e-4, atol=1e-6)


def test_edits_under_scan(net, probed, images):
    def step(total, scale):
        outputs, _ = probed.run(probed.variables, images, edits={SITE: lambda a: scale * a})
        return total + outputs, outputs[:, 0]

    scales = jnp.array([0.0, 1.0, 2.0])
    _, columns = jax.lax.scan(step, jnp.zeros((4, 5)), scales)
    for column, scale in zip(columns, scales, strict=True):
        expected = by_hand(net, images, lambda a, s=scale: s * a)[:, 0]
        np.testing.assert_allclose(column, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edit", [lambda a: a[..., :2], lambda a: a.astype(jnp.int32), lambda a: a.sum()])
def test_an_edit_that_changes_shape_or_dtype_is_refused(probed, images, edit):
    with pytest.raises(
        PwactError, match=r"an edit of 'relu@2' that returns float32.*keep the shape and dtype"
    ):
        probed.run(probed.variables, images, edits={SITE: edit})


def test_an_edit_of_an_unknown_site_is_refused(probed, images):
    with pytest.raises(PwactError, match="found 'relu@9'"):
        probed.run(probed.variables, images, edits={"relu@9": jnp.zeros_like})


def test_a_wrong_activation_above_a_cut_is_refused(probed, images):
    cut = probed.cut(SITE)
    activation, rest = cut.below(probed.variables, images)
    with pytest.raises(PwactError, match="give `above` the rest of the same images"):
        cut.above(probed.variables, activation[:2], rest)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, pwact
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
assert jax.device_count() == 4
model = lambda v, x: jax.nn.relu(jnp.einsum("bhwc,cd->bhwd", x, v)).mean((1, 2))
v, x = jnp.arange(6.0).reshape(3, 2) - 2, jax.random.normal(jax.random.key(0), (8, 4, 4, 3))
probed = pwact.probe(model, x, variables=v)
spread = jax.device_put(x, NamedSharding(Mesh(jax.devices(), "d"), P("d")))
run = jax.jit(lambda v, x: probed.run(v, x, sites=["relu"], edits={"relu": lambda a: 2 * a}))
out, captured = run(v, spread)
assert len(captured["relu"].sharding.device_set) == 4 and not captured["relu"].is_fully_replicated
np.testing.assert_allclose(out, 2 * model(v, x), rtol=1e-5, atol=1e-6)
"""


def test_edits_of_a_batch_over_several_devices():
    subprocess.run(
        [sys.executable, "-c", SHARDED],
        check=True,
        timeout=120,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
