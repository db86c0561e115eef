"""One trace serves every number of images, and nothing is traced again in silence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError


def counted(model):
    def wrapped(*args):
        wrapped.calls += 1
        return model(*args)

    wrapped.calls = 0
    return wrapped


def model(variables, image):
    x = jax.nn.relu(jnp.einsum("bhwc,cd->bhwd", image, variables))
    return x.reshape(x.shape[0], -1)


VARIABLES = jnp.arange(6.0).reshape(3, 2) - 2


def test_one_trace_serves_every_batch_size():
    function = counted(model)
    probed = pwact.probe(function, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    for batch in (1, 2, 7, 32, 4, 1, 32):
        image = jax.random.normal(jax.random.key(batch), (batch, 2, 2, 3))
        outputs, captured = probed.run(VARIABLES, image, sites=["relu"])
        np.testing.assert_allclose(outputs, model(VARIABLES, image), rtol=1e-6, atol=1e-6)
        assert captured["relu"].shape == (batch, 2, 2, 2)
        activation, rest = probed.cut("relu").below(VARIABLES, image)
        np.testing.assert_array_equal(probed.cut("relu").above(VARIABLES, activation, rest), outputs)
    assert function.calls == probed.traces == 1


def test_a_model_that_needs_the_number_is_traced_once_for_each():
    function = counted(lambda variables, image: model(variables, image) + len(range(int(image.shape[0]))))
    probed = pwact.probe(function, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    first = probed.traces
    for batch in (4, 6, 4, 6, 4):
        image = jnp.ones((batch, 2, 2, 3))
        np.testing.assert_allclose(
            probed.run(VARIABLES, image)[0], model(VARIABLES, image) + batch, rtol=1e-6
        )
    assert probed.traces == first + 1, "one more size, one more trace, and it is counted"
    assert function.calls == probed.traces


@pytest.mark.parametrize(
    ("variables", "image"),
    [
        (VARIABLES, jnp.zeros((4, 2, 3, 3))),
        (VARIABLES, jnp.zeros((4, 2, 2))),
        (VARIABLES, jnp.zeros((4, 2, 2, 3), jnp.int32)),
        (jnp.zeros((3, 5)), jnp.zeros((4, 2, 2, 3))),
        ({"w": VARIABLES}, jnp.zeros((4, 2, 2, 3))),
        (None, jnp.zeros((4, 2, 2, 3))),
    ],
)
def test_other_shapes_are_refused_and_not_traced(variables, image):
    probed = pwact.probe(model, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    with pytest.raises(PwactError, match=r"probe the model again|that were traced|pass what was traced"):
        probed.run(variables, image)
    assert probed.traces == 1


def test_a_jitted_run_is_compiled_once_a_size():
    probed = pwact.probe(model, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    run = jax.jit(lambda v, x: probed.run(v, x)[0])
    for batch in (3, 3, 5, 3, 5):
        run(VARIABLES, jnp.zeros((batch, 2, 2, 3)))
    assert run._cache_size() == 2


@jax.custom_jvp
def doubled(x):
    return x * jnp.ones_like(x)


doubled.defjvp(lambda primals, tangents: (doubled(*primals), tangents[0] * 2 * jnp.ones_like(primals[0])))


@jax.custom_vjp
def tripled(x, unused):
    return x + 0 * unused


tripled.defvjp(lambda x, unused: (tripled(x, unused), x), lambda x, g: (g * 3 + 0 * x, None))


def test_derivative_rules_serve_every_batch_size():
    def rules(variables, image):
        return tripled(doubled(jax.nn.relu(image @ variables)), image[..., :2]).sum((1, 2))

    probed = pwact.probe(rules, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    for batch in (1, 5):
        image = jax.random.normal(jax.random.key(batch), (batch, 2, 2, 3))
        expected = jax.grad(lambda v, x: rules(v, x).sum(), (0, 1))(VARIABLES, image)
        found = jax.grad(lambda v, x: probed.run(v, x)[0].sum(), (0, 1))(VARIABLES, image)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
    assert probed.traces == 1


def test_seeds_are_a_vmap_over_variables():
    probed = pwact.probe(model, jnp.zeros((4, 2, 2, 3)), variables=VARIABLES)
    image, seeds = jnp.ones((6, 2, 2, 3)), jnp.stack([VARIABLES, -VARIABLES, 2 * VARIABLES])
    outputs, captured = jax.vmap(lambda v: probed.run(v, image, sites=["relu"]))(seeds)
    np.testing.assert_allclose(outputs, jnp.stack([model(v, image) for v in seeds]), rtol=1e-6)
    assert captured["relu"].shape == (3, 6, 2, 2, 2)


def test_where_every_size_is_traced_the_batch_axis_is_told_from_others_of_that_size():
    def normalised(variables, image):
        x = image @ variables
        mean = x.sum((0, 1, 2)) / (int(image.shape[0]) * 4)
        return jnp.tanh(
            jax.vmap(lambda image: jnp.moveaxis(image, -1, 0), out_axes=1)(x - mean.reshape(1, 1, 1, 2))
        )

    image = jnp.ones((2, 2, 2, 3))
    sites = pwact.probe(normalised, image, variables=VARIABLES).sites
    assert (sites["dot"].batch_axis, sites["dot"].shape) == (0, (2, 2, 2))
    assert (sites["tanh"].batch_axis, sites["tanh"].shape) == (1, (2, 2, 2))
    assert sites["tanh"].receptive_field.whole_image, "the mean is over all points"
