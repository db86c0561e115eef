"""Sites inside jit, custom rules, remat, scan, while and cond."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))


def capture(model, site, image=IMAGE):
    probed = pwact.probe(model, image)
    outputs, captured = jax.jit(lambda x: probed.run(None, x, sites=[site]))(image)
    np.testing.assert_allclose(outputs, model(image), rtol=1e-6, atol=1e-6)
    return probed, captured[site]


def edited(probed, site, edit, image=IMAGE):
    return jax.jit(lambda x: probed.run(None, x, edits={site: edit})[0])(image)


@jax.jit
def stage(x):
    return jnp.tanh(x) * 2.0


def test_inside_jit():
    probed, value = capture(lambda x: stage(x).sum((1, 2)), "stage")
    np.testing.assert_allclose(value, jnp.tanh(IMAGE) * 2, rtol=1e-6)
    inner = pwact.probe(lambda x: stage(x).sum((1, 2)), IMAGE)
    assert "stage.tanh" in inner.sites
    np.testing.assert_allclose(edited(probed, "stage.tanh", jnp.ones_like), np.full((3, 2), 32.0))


@jax.custom_jvp
def straight(x):
    return jnp.round(x)


straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0]))


@jax.custom_vjp
def reversal(x):
    return jnp.tanh(x)


reversal.defvjp(lambda x: (jnp.tanh(x), None), lambda _, g: (-g,))


@pytest.mark.parametrize(("rule", "slope"), [(straight, 1.0), (reversal, -1.0)])
def test_custom_rules_survive_capture_and_an_edit_of_their_result(rule, slope):
    name = rule.__name__
    probed, value = capture(lambda x: rule(x).sum((1, 2)), name)
    np.testing.assert_allclose(value, rule(IMAGE), rtol=1e-6)
    for edits in ({}, {name: lambda a: 3.0 * a}):
        found = jax.grad(lambda x, edits=edits: probed.run(None, x, sites=[name], edits=edits)[0].sum())(
            IMAGE
        )
        np.testing.assert_allclose(found, slope * (3.0 if edits else 1.0), rtol=1e-6)


def test_inside_remat():
    @jax.checkpoint
    def block(x):
        return jax.nn.relu(x * 2.0) + 1.0

    names = pwact.probe(lambda x: block(x).sum((1, 2)), IMAGE).sites
    (name,) = [name for name in names if name.endswith("relu")]
    probed, value = capture(lambda x: block(x).sum((1, 2)), name)
    np.testing.assert_allclose(value, jax.nn.relu(IMAGE * 2), rtol=1e-6)
    np.testing.assert_allclose(edited(probed, name, jnp.zeros_like), np.full((3, 2), 16.0))
    found = jax.grad(lambda x: probed.run(None, x)[0].sum())(IMAGE)
    np.testing.assert_allclose(found, 2.0 * (IMAGE > 0), rtol=1e-6)


def scanned(x):
    def step(carry, weight):
        with jax.named_scope("step"):
            carry = jnp.tanh(carry * weight)
        return carry, carry.mean()

    return jax.lax.scan(step, x, jnp.array([0.5, 1.0, 2.0]))[0].sum((1, 2))


def test_inside_scan_sites_have_a_leading_axis_and_edits_act_in_every_turn():
    probed = pwact.probe(scanned, IMAGE)
    (name,) = [name for name, site in probed.sites.items() if site.when == "scan of 3"]
    site = probed.sites[name]
    assert site.shape == (3, 4, 4, 2) and site.batch_axis == 1 and not site.is_map
    value = probed.run(None, IMAGE, sites=[name])[1][name]
    turns = [jnp.tanh(IMAGE * 0.5)]
    turns += [jnp.tanh(turns[-1])]
    turns += [jnp.tanh(turns[-1] * 2.0)]
    np.testing.assert_allclose(value, jnp.stack(turns), rtol=1e-6)
    halved = IMAGE
    for weight in (0.5, 1.0, 2.0):
        halved = jnp.tanh(halved * weight) * 0.5
    np.testing.assert_allclose(edited(probed, name, lambda a: a * 0.5), halved.sum((1, 2)), rtol=1e-5)
    with pytest.raises(PwactError, match="outside loops and branches"):
        probed.cut(name)


def looped(x):
    def step(state):
        turn, carry = state
        return turn + 1, jnp.tanh(carry)

    return jax.lax.while_loop(lambda state: state[0] < 4, step, (0, x))[1].sum((1, 2))


def test_inside_while_the_last_turn_is_readable_and_not_editable():
    probed = pwact.probe(looped, IMAGE)
    (name,) = [name for name in probed.sites if name.endswith("tanh")]
    value = probed.run(None, IMAGE, sites=[name])[1][name]
    expected = IMAGE
    for _ in range(4):
        expected = jnp.tanh(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert not probed.sites[name].editable and "read only" in repr(probed)
    with pytest.raises(PwactError, match=r"a site that can be edited.*while"):
        probed.run(None, IMAGE, edits={name: jnp.zeros_like})


def branched(x):
    return jax.lax.cond(x.sum() > 0, lambda x: jnp.tanh(x), lambda x: jax.nn.relu(x), x).sum((1, 2))


def test_inside_cond_each_branch_has_its_names():
    probed = pwact.probe(branched, IMAGE)
    tanh, relu = (next(n for n in probed.sites if n.endswith(end)) for end in ("tanh", "relu"))
    assert "branch" in probed.sites[tanh].when and "branch" in probed.sites[relu].when
    for sign, taken, other, function in ((1, tanh, relu, jnp.tanh), (-1, relu, tanh, jax.nn.relu)):
        image = sign * jnp.abs(IMAGE)
        outputs, captured = probed.run(None, image, sites=[tanh, relu])
        np.testing.assert_allclose(captured[taken], function(image), rtol=1e-6)
        np.testing.assert_array_equal(captured[other], 0.0)
        np.testing.assert_allclose(outputs, branched(image), rtol=1e-6)
        np.testing.assert_array_equal(edited(probed, taken, jnp.zeros_like, image), 0.0)
