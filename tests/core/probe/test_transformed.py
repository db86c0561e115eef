"""Models that contain, or lie within, transformations of JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pwact
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (4, 5, 5, 3))
KERNEL = jax.random.normal(jax.random.key(1), (3, 2))


def model(v, x):
    return jax.nn.relu(x @ v).mean((1, 2))


def test_a_probe_made_inside_jit_of_a_model_that_closes_over_a_traced_value():
    def columns(w, x):
        return pwact.probe(lambda x: jnp.einsum("bhwc,hk->bkwc", x, w), x).run(None, x)[0]

    w = jnp.triu(jnp.ones((5, 5)))
    found = jax.jit(columns)(w, IMAGE)
    np.testing.assert_allclose(found, jnp.einsum("bhwc,hk->bkwc", IMAGE, w), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", [jax.vmap, jax.jacfwd, jax.jacrev])
def test_a_probe_made_inside_a_transformation(transform):
    def probed(v):
        return pwact.probe(model, IMAGE, variables=v).run(v, IMAGE, sites=["relu"])[0]

    v = jnp.stack([KERNEL, -KERNEL]) if transform is jax.vmap else KERNEL
    np.testing.assert_allclose(
        transform(probed)(v), transform(lambda v: model(v, IMAGE))(v), rtol=1e-5, atol=1e-6
    )


def test_a_gradient_inside_the_model_leaves_no_names_of_derivative_rules():
    def saliency(v, x):
        return jnp.tanh(jax.grad(lambda x: model(v, x).sum())(x))

    probed = pwact.probe(saliency, IMAGE, variables=KERNEL)
    assert not [name for name in probed.sites if "<" in name]
    assert {"dot", "tanh"} <= set(probed.sites)
    np.testing.assert_allclose(probed.run(KERNEL, IMAGE)[0], saliency(KERNEL, IMAGE), rtol=1e-6)


def test_images_in_groups_of_a_fixed_size_at_every_number_of_images():
    def grouped(v, x):
        return lax.map(lambda image: jnp.tanh(image @ v).sum((0, 1)), x, batch_size=2)

    probed = pwact.probe(grouped, IMAGE, variables=KERNEL)
    assert list(probed.sites) == ["input", "output"], "full groups and the rest are no batch"
    for batch in (2, 3, 4, 1):
        found, captured = probed.run(KERNEL, IMAGE[:batch], sites=["output"])
        np.testing.assert_allclose(found, grouped(KERNEL, IMAGE[:batch]), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(captured["output"], found)
        assert probed.traces == (2 if batch == 1 else 1)


def test_randomness_inside_the_model_is_the_same_at_every_number_of_images():
    def noisy(v, x):
        return model(v["kernel"], x * jax.random.bernoulli(v["key"], 0.5, x.shape))

    v = {"kernel": KERNEL, "key": jax.random.key(3)}
    probed = pwact.probe(noisy, IMAGE, variables=v)
    for batch in (1, 3, 4):
        np.testing.assert_array_equal(
            jax.jit(probed.run)(v, IMAGE[:batch])[0], jax.jit(noisy)(v, IMAGE[:batch])
        )


def test_a_loop_over_probed_runs_is_traced_once():
    calls = []

    def counted(v, x):
        calls.append(1)
        return model(v, x)

    probed = pwact.probe(counted, IMAGE, variables=KERNEL)

    def ascend(x, _):
        slope = jax.grad(lambda x: probed.run(KERNEL, x, edits={"relu": lambda a: a**2})[0].sum())(x)
        return x + 0.1 * slope, None

    found, _ = lax.scan(ascend, IMAGE, None, length=3)
    expected = IMAGE
    for _ in range(3):
        expected = expected + 0.1 * jax.grad(lambda x: (jax.nn.relu(x @ KERNEL) ** 2).mean((1, 2)).sum())(
            expected
        )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == probed.traces == 1


def test_effects_and_callbacks_of_the_model_are_kept():
    seen = []

    def spying(v, x):
        y = x @ v
        jax.debug.callback(lambda mean: seen.append(float(mean)), y.mean())
        return jax.pure_callback(lambda a: np.asarray(a) * 2, jax.ShapeDtypeStruct(y.shape, y.dtype), y)

    probed = pwact.probe(spying, IMAGE, variables=KERNEL)
    found = jax.jit(probed.run)(KERNEL, IMAGE[:3])[0]
    jax.effects_barrier()
    np.testing.assert_allclose(found, 2 * (IMAGE[:3] @ KERNEL), rtol=1e-5)
    np.testing.assert_allclose(seen, [float((IMAGE[:3] @ KERNEL).mean())], rtol=1e-4, atol=1e-6)


def test_a_custom_vmap_keeps_its_rule():
    @jax.custom_batching.custom_vmap
    def scale(x):
        return x * 1.0

    scale.def_vmap(lambda size, batched, x: (x * 10.0, True))

    def scaled(x):
        return jnp.tanh(jax.vmap(scale)(x) * 0.1 + scale(x) * 0.1)

    probed = pwact.probe(scaled, IMAGE)
    np.testing.assert_allclose(probed.run(None, IMAGE[:2])[0], jnp.tanh(1.1 * IMAGE[:2]), rtol=1e-5)
    batches = jnp.stack([IMAGE[:2], IMAGE[2:]])
    np.testing.assert_allclose(
        jax.vmap(lambda x: probed.run(None, x)[0])(batches), jax.vmap(scaled)(batches), rtol=1e-5
    )


def test_code_that_compares_the_number_of_images_with_a_range_is_traced_for_each():
    def ranged(x):
        return jnp.tanh(x) * (2.0 if x.shape[0] > 2 else 1.0)

    probed = pwact.probe(ranged, IMAGE)
    for batch in (1, 4, 3, 1):
        np.testing.assert_allclose(probed.run(None, IMAGE[:batch])[0], ranged(IMAGE[:batch]), rtol=1e-6)
    assert probed.traces == 4, "one with a symbol, and one for each number"
    assert "each number is traced" in repr(probed)


def test_no_images_at_all():
    probed = pwact.probe(model, IMAGE, variables=KERNEL)
    outputs, captured = probed.run(KERNEL, IMAGE[:0], sites=["relu"], edits={"relu": lambda a: a + 1})
    assert outputs.shape == (0, 2) and captured["relu"].shape == (0, 5, 5, 2)
    assert probed.cut("relu").above(KERNEL, *probed.cut("relu").below(KERNEL, IMAGE[:0])).shape == (0, 2)


def test_a_loop_that_each_image_leaves_at_its_own_turn_is_one_value():
    def halved(image):
        return lax.while_loop(lambda c: jnp.abs(c).sum() > 1.0, lambda c: jnp.tanh(c) * 0.5, image)

    probed = pwact.probe(lambda x: jax.vmap(halved)(x).sum((1, 2)), IMAGE)
    assert list(probed.sites) == ["input", "while", "sum"]
    image = IMAGE * jnp.array([0.0, 0.1, 1.0, 9.0]).reshape(4, 1, 1, 1)
    _, captured = probed.run(None, image, sites=["while"])
    np.testing.assert_allclose(captured["while"], jnp.stack([halved(x) for x in image]), rtol=1e-5)


def test_turns_of_a_reversed_scan_are_captured_at_the_places_of_their_inputs():
    def fading(x):
        def step(carry, factor):
            carry = jnp.tanh(carry * factor)
            return carry, carry.mean((1, 2))

        return lax.scan(step, x, jnp.array([0.5, 1.0, 2.0]), reverse=True, unroll=2)

    probed = pwact.probe(fading, IMAGE)
    (site,) = [name for name in probed.sites if name.endswith("tanh")]
    (_, means), captured = probed.run(None, IMAGE, sites=[site])
    np.testing.assert_allclose(captured[site].mean((2, 3)), means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(captured[site][2], jnp.tanh(IMAGE * 2.0), rtol=1e-5)


def test_loops_in_branches_in_loops():
    def model(x):
        def twice(x):
            return lax.scan(lambda carry, _: (jnp.tanh(carry), None), x, None, length=2)[0]

        def step(state):
            turn, x = state
            return turn + 1, lax.cond(turn % 2 == 0, twice, jax.nn.relu, x)

        return lax.while_loop(lambda state: state[0] < 3, step, (0, x))[1].mean((1, 2))

    probed = pwact.probe(model, IMAGE)
    when = {site.when for site in probed.sites.values()}
    assert "while, last turn, branch 1 of 2, scan of 2" in when
    outputs, captured = jax.jit(lambda x: probed.run(None, x, sites=list(probed.sites)))(IMAGE)
    np.testing.assert_allclose(outputs, model(IMAGE), rtol=1e-5, atol=1e-6)
    (inner,) = [name for name, site in probed.sites.items() if "scan of 2" in site.when]
    np.testing.assert_allclose(captured[inner][1], captured["while"], rtol=1e-6)


def test_a_name_that_other_values_have_for_a_single_image_is_refused_there():
    def model(v, x):
        x = lax.map(jnp.tanh, x, batch_size=2)
        return jnp.tanh(x) @ v

    probed = pwact.probe(model, IMAGE, variables=KERNEL)
    assert list(probed.sites) == ["input", "tanh", "dot"]
    hidden = jnp.tanh(jnp.tanh(IMAGE[:3]))
    np.testing.assert_allclose(probed.capture(KERNEL, IMAGE[:3], ["tanh"])["tanh"], hidden, rtol=1e-5)
    with pytest.raises(PwactError, match="no such 'tanh' for 1"):
        probed.capture(KERNEL, IMAGE[:1], ["tanh"])
    np.testing.assert_allclose(probed.run(KERNEL, IMAGE[:1])[0], model(KERNEL, IMAGE[:1]), rtol=1e-5)
