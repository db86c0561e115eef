"""Several models on the same images are what each is alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pwact
from pwact.core.probe import side_by_side
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (3, 6, 6, 2))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        return self.head(jax.nn.relu(self.norm(self.conv(x))).mean((1, 2)))


class Small(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.silu(linen.Conv(3, (3, 3), 2)(x))
        return linen.Dense(5)(x.reshape(x.shape[0], -1)), x


@pytest.fixture(scope="module")
def parts():
    small = Small()
    return {
        # Not in alphabetical order: leaves of a dictionary are, sites are not.
        "z": pwact.probe(Net(nnx.Rngs(1)), IMAGE),
        "linen": pwact.probe(small, IMAGE[:2], variables=small.init(jax.random.key(1), IMAGE)),
        "a": pwact.probe(Net(nnx.Rngs(2)), IMAGE[:1]),
    }


@pytest.fixture(scope="module")
def both(parts):
    return side_by_side(**parts)


def test_sites_are_those_of_each_under_its_name(parts, both):
    assert list(both.sites) == [f"{name}.{site}" for name, part in parts.items() for site in part.sites]
    assert [site.depth for site in both.sites.values()] == list(range(len(both.sites)))
    for name, part in parts.items():
        for inner, site in part.sites.items():
            found = both.sites[f"{name}.{inner}"]
            for field in ("shape", "batch_axis", "dtype", "operation", "is_map", "receptive_field"):
                assert getattr(found, field) == getattr(site, field)
    assert "z.output" in both.sites and both.sites["z.output"].name == "z.head"


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_outputs_and_captures_have_the_bits_of_each_alone(parts, both, batch):
    image = jax.random.normal(jax.random.key(batch), (batch, 6, 6, 2))
    outputs, captured = jax.jit(lambda v, x: both.run(v, x, sites=list(both.sites)))(both.variables, image)
    for name, part in parts.items():
        alone, inner = jax.jit(lambda v, x, part=part: part.run(v, x, sites=list(part.sites)))(
            part.variables, image
        )
        jax.tree.map(np.testing.assert_array_equal, outputs[name], alone)
        for site, activation in inner.items():
            np.testing.assert_array_equal(captured[f"{name}.{site}"], activation, err_msg=site)


def test_an_edit_changes_one_model_and_the_variables_are_each_its_own(parts, both):
    edits = {"z.input": lambda x: -x, "linen.silu": jnp.zeros_like}
    outputs, _ = both.run(both.variables, IMAGE, edits=edits)
    alone = {name: part.run(part.variables, IMAGE)[0] for name, part in parts.items()}
    negated, _ = parts["z"].run(parts["z"].variables, -IMAGE)
    np.testing.assert_allclose(outputs["z"], negated, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs["a"], alone["a"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(outputs["linen"][1], jnp.zeros_like(alone["linen"][1]))
    assert float(jnp.abs(negated - alone["z"]).max()) > 1e-3


def test_it_is_cut_and_differentiated_like_any_probe(parts, both):
    image = IMAGE[:2]
    cut = both.cut("a.relu")
    outputs = cut.above(both.variables, *cut.below(both.variables, image))
    expected = {name: part.run(part.variables, image)[0] for name, part in parts.items()}
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), outputs, expected)
    _, _, slopes = both.gradients(
        both.variables, image, of=lambda y: y["a"][:, 0] + y["z"][:, 1] ** 2, sites=["a.relu", "z.conv"]
    )
    for name, site, of in (("a", "relu", lambda y: y[:, 0]), ("z", "conv", lambda y: y[:, 1] ** 2)):
        _, _, alone = parts[name].gradients(parts[name].variables, image, of=of, sites=[site])
        np.testing.assert_allclose(slopes[f"{name}.{site}"], alone[site], rtol=1e-4, atol=1e-6)


def test_one_probe_for_several_networks_is_traced_once():
    calls = []

    def model(v, x):
        calls.append(1)
        return jnp.tanh(x @ v).sum((1, 2))

    seeds = jax.random.normal(jax.random.key(4), (2, 2, 5))
    single = pwact.probe(model, IMAGE, variables=seeds[0])
    both = side_by_side(first=single, second=single)
    nested = side_by_side(pair=both, third=single)
    v = {"pair": {"first": seeds[0], "second": seeds[1]}, "third": seeds[1] * 2}
    outputs, captured = nested.run(v, IMAGE, sites=["pair.second.tanh"])
    for found, seed in ((outputs["pair"]["first"], seeds[0]), (outputs["third"], 2 * seeds[1])):
        np.testing.assert_allclose(found, jnp.tanh(IMAGE @ seed).sum((1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(captured["pair.second.tanh"], jnp.tanh(IMAGE @ seeds[1]), rtol=1e-6)
    assert len(calls) == both.traces == single.traces == 1


def test_a_model_that_is_traced_for_each_number_is_put_beside_one_that_is_not():
    def counting(v, x):
        return jnp.tanh(x @ v).sum((1, 2)) * len(range(int(x.shape[0])))

    v = jnp.ones((2, 5))
    both = side_by_side(
        free=pwact.probe(lambda v, x: jax.nn.relu(x @ v), IMAGE, variables=v),
        bound=pwact.probe(counting, IMAGE, variables=v),
    )
    for batch in (3, 1, 2):
        outputs, _ = both.run(both.variables, IMAGE[:batch])
        np.testing.assert_allclose(outputs["bound"], counting(v, IMAGE[:batch]), rtol=1e-5, atol=1e-5)
        assert outputs["free"].shape == (batch, 6, 6, 5)
    assert "each number is traced" in repr(both)


def test_what_cannot_stand_side_by_side_is_refused(parts):
    one = parts["z"]
    other = pwact.probe(lambda x: x, jnp.ones((3, 6, 6, 1)))
    training = pwact.probe(Net(nnx.Rngs(1)), IMAGE, mode="training")
    for given, message in (
        ({}, "two probes or more; found 0"),
        ({"a": one}, "two probes or more; found 1"),
        ({"a": one, "b": training}, "'b' in training mode"),
        ({"a": one, "b": other}, r"float32\[3, 6, 6, 2\]; found float32\[3, 6, 6, 1\]"),
    ):
        with pytest.raises(PwactError, match=message):
            side_by_side(**given)
