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
    single = False
    for batch in (2, 7, 32, 4, 1, 2, 1, 32):
        image = jax.random.normal(jax.random.key(batch), (batch, 2, 2, 3))
        outputs, captured = probed.run(VARIABLES, image, sites=["relu"])
        np.testing.assert_allclose(outputs, model(VARIABLES, image), rtol=1e-6, atol=1e-6)
        assert captured["relu"].shape == (batch, 2, 2, 2)
        activation, rest = probed.cut("relu").below(VARIABLES, image)
        np.testing.assert_array_equal(probed.cut("relu").above(VARIABLES, activation, rest), outputs)
        single = single or batch == 1
        assert function.calls == probed.traces == 1 + single, "a single image is traced once, on its own"


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
    assert probed.traces == 2


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


def by_number(x):
    x = jnp.tanh(x)
    return (3.0 * x if x.shape[0] == 1 else x).sum((1, 2))


def squeezed(x):
    x = jax.nn.relu(x.mean((1, 2)))
    return jnp.tanh(jnp.squeeze(x)).sum(-1)


@pytest.mark.parametrize(
    ("function", "each"),
    [(by_number, False), (squeezed, True)],
    ids=["compared, which a symbol can be", "squeezed, which a symbol cannot"],
)
@pytest.mark.parametrize("first", [1, 3], ids=["probed with one image", "probed with three"])
def test_python_that_asks_for_a_single_image_is_heard(function, each, first):
    image = jax.random.normal(jax.random.key(0), (5, 2, 2, 3))
    model = counted(function)
    probed = pwact.probe(model, image[:first])
    run = jax.jit(lambda x: probed.run(None, x)[0])
    for batch in (1, 2, 1, first, 5, 1):
        expected = function(image[:batch])
        for outputs in (run(image[:batch]), probed.run(None, image[:batch])[0]):
            assert outputs.shape == expected.shape
            np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)
    assert model.calls == probed.traces == (1 + len({1, 2, first, 5}) if each else 2)


def test_a_site_that_is_another_for_a_single_image_is_refused_there_and_nowhere_else():
    image = jax.random.normal(jax.random.key(0), (5, 2, 2, 3))
    probed = pwact.probe(squeezed, image)
    assert probed.sites["tanh"].shape == (3,)
    assert probed.capture(None, image[:2], ["tanh"])["tanh"].shape == (2, 3)
    for ask in (
        lambda: probed.run(None, image[:1], sites=["tanh"]),
        lambda: probed.run(None, image[:1], edits={"tanh": jnp.zeros_like}),
        lambda: probed.gradients(None, image[:1], of=lambda y: y, sites=["tanh"]),
        lambda: probed.cut("tanh").below(None, image[:1]),
    ):
        with pytest.raises(PwactError, match="no such 'tanh' for 1; give the model batches of the size"):
            ask()
    outputs, captured = probed.run(None, image[:1], sites=["relu"])
    np.testing.assert_allclose(captured["relu"], jax.nn.relu(image[:1].mean((1, 2))), rtol=1e-6)
    assert outputs.shape == ()


def test_a_cut_whose_outputs_have_images_that_do_not_cross_is_refused():
    def spread(v, x):
        with jax.named_scope("centre"):
            centre = (x @ v).mean((0, 1, 2))
        return jnp.broadcast_to(centre, (x.shape[0], 2))

    image = jnp.ones((3, 2, 2, 3))
    cut = pwact.probe(spread, image, variables=VARIABLES).cut("centre")
    with pytest.raises(PwactError, match="'centre' with no axis of images; use `run`"):
        cut.above(VARIABLES, *cut.below(VARIABLES, image))
