"""Gradients at sites are those of the program as it stands, in one pass for all of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import pwact
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (3, 6, 6, 2))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.wide = nnx.Conv(4, 4, (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.norm(self.conv(x)))
        x = x[:, ::2, ::2] + nnx.silu(self.wide(x))
        return self.head(x.mean((1, 2)))


@pytest.fixture(scope="module")
def probed():
    net = Net(nnx.Rngs(1))
    net.norm.mean[...] = jnp.array([0.1, -0.2, 0.3, 0.0])
    net.norm.var[...] = jnp.array([0.5, 2.0, 1.0, 3.0])
    return pwact.probe(net, IMAGE)


def margin(outputs):
    return outputs[:, 2] - jnp.tanh(outputs[:, 0]) ** 2


def test_every_site_at_once_equals_the_gradient_of_each_upper_part(probed):
    image = jax.random.normal(jax.random.key(2), (2, 6, 6, 2))

    @jax.jit
    def both(variables, image):
        expected = {}
        for site in probed.sites:
            cut = probed.cut(site)
            activation, rest = cut.below(variables, image)
            above = lambda a, cut=cut, rest=rest: margin(cut.above(variables, a, rest)).sum()  # noqa: E731
            expected[site] = activation, jax.grad(above)(activation)
        return probed.gradients(variables, image, of=margin, sites=list(probed.sites)), expected

    (outputs, activations, slopes), expected = both(probed.variables, image)
    np.testing.assert_allclose(outputs, probed.run(probed.variables, image)[0], rtol=1e-5, atol=1e-6)
    assert set(slopes) == set(probed.sites) and probed.traces == 1
    for site, (activation, slope) in expected.items():
        np.testing.assert_allclose(activations[site], activation, rtol=1e-5, atol=1e-6, err_msg=site)
        np.testing.assert_allclose(slopes[site], slope, rtol=1e-4, atol=1e-6, err_msg=site)
    assert float(jnp.abs(slopes["input"]).max()) > 1e-3


def test_outputs_and_activations_have_the_bits_of_run(probed):
    sites = ["conv", "relu", "wide"]
    run = jax.jit(lambda v, x: probed.run(v, x, sites=sites))
    slope = jax.jit(lambda v, x: probed.gradients(v, x, of=margin, sites=sites)[:2])
    jax.tree.map(np.testing.assert_array_equal, slope(probed.variables, IMAGE), run(probed.variables, IMAGE))


def test_one_image_at_a_time_gives_the_same_gradients(probed):
    _, _, slopes = probed.gradients(probed.variables, IMAGE, of=margin, sites=["relu"])
    for image, slope in zip(IMAGE, slopes["relu"], strict=True):
        _, _, alone = probed.gradients(probed.variables, image[None], of=margin, sites=["relu"])
        np.testing.assert_allclose(alone["relu"][0], slope, rtol=1e-4, atol=1e-6)


def test_a_network_by_hand_in_float64_and_finite_differences():
    rng = np.random.default_rng(0)
    x, first, second = rng.normal(size=(4, 3)), rng.normal(size=(3, 6)), rng.normal(size=(6, 2))

    def model(v, x):
        return jnp.tanh(x @ v["first"]) @ v["second"]

    v = {"first": jnp.float32(first), "second": jnp.float32(second)}
    probed = pwact.probe(model, jnp.float32(x), variables=v)
    _, _, slopes = probed.gradients(
        v, jnp.float32(x), of=lambda y: y[:, 0] * y[:, 1], sites=["input", "dot", "tanh", "output"]
    )
    hidden = np.tanh(x @ first)
    y = hidden @ second
    at_output = y[:, ::-1]
    at_tanh = at_output @ second.T
    at_dot = at_tanh * (1 - hidden**2)
    expected = {"output": at_output, "tanh": at_tanh, "dot": at_dot, "input": at_dot @ first.T}
    for site, slope in expected.items():
        # Products of at most three float32 matrices with entries of order 1.
        np.testing.assert_allclose(slopes[site], slope, rtol=1e-4, atol=1e-5, err_msg=site)

    def product(dot):
        y = np.tanh(dot) @ second
        return y[:, 0] * y[:, 1]

    step = 1e-5
    for unit in range(6):
        move = step * np.eye(6)[unit]
        difference = (product(x @ first + move) - product(x @ first - move)) / (2 * step)
        np.testing.assert_allclose(slopes["dot"][:, unit], difference, rtol=1e-4, atol=1e-5)


@jax.custom_jvp
def straight(x):
    return jnp.tanh(jnp.sin(x)) * 3.0


straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0] * 7.0))


@jax.custom_vjp
def backward(x):
    return jnp.tanh(x) * 2.0


backward.defvjp(lambda x: (backward(x), None), lambda _, g: (5.0 * g,))


@pytest.mark.parametrize(
    ("function", "name", "rule", "factor"),
    [(straight, "straight", 7.0, 3.0), (backward, "backward", 5.0, 2.0)],
)
def test_a_site_inside_a_rule_follows_the_body_and_an_earlier_one_the_rule(function, name, rule, factor):
    def model(x):
        return function(x * 2.0 + jnp.roll(x, 1, axis=1)).sum((1, 2, 3))

    probed = pwact.probe(model, IMAGE)
    inner = f"{name}.tanh"
    sites = ["input", inner, name]
    for asked in (sites, [inner], ["input"]):
        outputs, _, slopes = jax.jit(
            lambda x, asked=asked: probed.gradients(None, x, of=lambda y: y, sites=asked)
        )(IMAGE)
        np.testing.assert_allclose(outputs, model(IMAGE), rtol=1e-5, atol=1e-5)
        expected = {"input": 3.0 * rule, inner: factor, name: 1.0}
        for site in asked:
            np.testing.assert_allclose(slopes[site], np.full(IMAGE.shape, expected[site]), rtol=1e-6)


def test_one_slope_for_each_turn_of_a_scan_and_zero_in_a_branch_not_taken():
    factors = jnp.array([0.5, 1.0, 2.0])

    def model(x):
        def turn(carry, factor):
            carry = jnp.tanh(carry * factor)
            return carry, None

        x, _ = lax.scan(jax.checkpoint(turn), x, factors)
        x = lax.cond(x.sum() < 1e9, lambda x: jnp.tanh(x), lambda x: lax.logistic(x), x)
        return x.sum((1, 2, 3))

    probed = pwact.probe(model, IMAGE)
    (looped,) = [name for name, site in probed.sites.items() if site.when == "scan of 3"]
    taken, other = (
        next(name for name in probed.sites if name.endswith(end) and "branch" in name)
        for end in ("tanh", "sigmoid")
    )
    _, activations, slopes = probed.gradients(None, IMAGE, of=lambda y: y, sites=[looped, taken, other])
    assert slopes[looped].shape == activations[looped].shape == (3, *IMAGE.shape)
    np.testing.assert_array_equal(slopes[other], jnp.zeros_like(IMAGE))
    np.testing.assert_array_equal(slopes[taken], jnp.ones_like(IMAGE))
    turns = np.asarray(activations[looped], np.float64)
    expected = 1 - np.tanh(turns[2]) ** 2
    np.testing.assert_allclose(slopes[looped][2], expected, rtol=1e-5)
    for later in (2, 1):
        expected = expected * (1 - turns[later] ** 2) * float(factors[later])
        np.testing.assert_allclose(slopes[looped][later - 1], expected, rtol=1e-4, atol=1e-6)


def test_a_value_that_is_read_twice_and_infinite_numbers_keep_their_bits():
    def model(x):
        y = jax.nn.relu(x)
        return (jnp.log(y) + y[:, ::-1]).max((1, 2, 3))

    probed = pwact.probe(model, IMAGE)
    outputs, activations, slopes = probed.gradients(
        None, -0.0 * IMAGE, of=lambda y: y, sites=["input", "relu"]
    )
    np.testing.assert_array_equal(outputs, np.full(3, -np.inf))
    np.testing.assert_array_equal(np.signbit(activations["input"]), np.signbit(-0.0 * IMAGE))
    expected = jax.grad(lambda y: (jnp.log(y) + y[:, ::-1]).max((1, 2, 3)).sum())(jax.nn.relu(IMAGE + 3.0))
    _, _, slopes = probed.gradients(None, IMAGE + 3.0, of=lambda y: y, sites=["relu"])
    np.testing.assert_allclose(slopes["relu"], expected, rtol=1e-6)


def test_vmap_over_seeds():
    def model(v, x):
        return jnp.tanh(x @ v).sum((1, 2))

    seeds = jax.random.normal(jax.random.key(4), (3, 2, 5))
    probed = pwact.probe(model, IMAGE, variables=seeds[0])
    run = lambda v: probed.gradients(v, IMAGE, of=lambda y: y[:, 1], sites=["dot"])[2]["dot"]  # noqa: E731
    together = jax.vmap(run)(seeds)
    for slope, seed in zip(together, seeds, strict=True):
        np.testing.assert_allclose(slope, run(seed), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"sites": ["nowhere"]}, "expected a site, such as"),
        ({"sites": ["dot", "dot"]}, "each site once"),
        ({"sites": "dot"}, "sequence of names"),
        ({"sites": ["tanh"]}, "can be edited, as a gradient needs it"),
        ({"sites": ["dot"]}, "no while loop between"),
        ({"sites": ["number"]}, "floating-point numbers; found 'number' of int32"),
        (
            {"sites": ["while"], "of": lambda y: y},
            r"one floating-point number an image, \[3\]; found float32\[3, 5\]",
        ),
        ({"sites": ["while"], "of": lambda y: y.argmax(1)}, r"found int32\[3\]"),
        ({"sites": ["while"], "of": lambda y: (y[:, 0],)}, "found tuple"),
    ],
)
def test_what_has_no_gradient_is_refused(ask, message):
    def model(v, x):
        y = (x @ v).mean((1, 2))
        number = checkpoint_name(y.argmax(1), "number")
        state = lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, jnp.tanh(s[1])), (0, y))[1]
        return state + 0.0 * number[:, None]

    v = jax.random.normal(jax.random.key(5), (2, 5))
    probed = pwact.probe(model, IMAGE, variables=v)
    with pytest.raises(PwactError, match=message):
        probed.gradients(v, IMAGE, **{"of": lambda y: y[:, 0], **ask})
