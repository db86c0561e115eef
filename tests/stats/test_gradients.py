"""Statistics of gradients: through combinators, and through a sweep against gradients written by hand."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError
from pwact.stats import by_class, firing, gradient_times_activation, moments, of_gradient, on, per_channel
from pwact.types import Observation

CLASSES = 3
SPEC = jax.ShapeDtypeStruct((2,), "float32")


def seen(x, gradient):
    zero = jnp.zeros(len(x), jnp.int32)
    return Observation(jnp.asarray(x), zero, zero, zero, jnp.ones(len(x), bool), gradient=gradient)


def test_without_gradients_it_is_said_what_to_do():
    x = np.ones((2, 2), np.float32)
    outside = on(jnp.square, of_gradient(moments()))  # on() does not hand the gradient on
    for acc, gradient in (
        *((of_gradient(moments()), None), (gradient_times_activation(moments()), None)),
        (outside, jnp.asarray(x)),
    ):
        with pytest.raises(PwactError, match="pass gradient_of= to the sweep"):
            acc.update(acc.init(SPEC), seen(x, gradient))


def test_a_product_that_overflows_is_infinite_and_not_a_number_that_may_be_wrong():
    acc = gradient_times_activation(per_channel(firing()))
    x = np.array([[1e30, 1.0], [1.0, 1.0]], np.float32)
    result = acc.finalize(acc.update(acc.init(SPEC), seen(x, jnp.asarray(x))))
    assert np.isinf(np.asarray(result["share"].values)).all()
    fine = acc.finalize(acc.update(acc.init(SPEC), seen(x, jnp.ones((2, 2)))))
    assert fine["share"].values.tolist() == [1, 1]


def test_only_statistics_are_taken():
    for make in (of_gradient, gradient_times_activation):
        with pytest.raises(PwactError, match=f"an accumulator for {make.__name__}"):
            inspect.unwrap(make)(moments)  # the tests' own type checks would come first
    with pytest.raises(PwactError, match="a statistic of one site"):
        gradient_times_activation(moments()._replace(pairwise=True))


def test_of_gradient_shows_both_gradients_of_a_pair():
    def update(state, seen):
        one, other = seen.activation
        return state + (one * other).sum()

    pair = moments()._replace(init=lambda spec: jnp.zeros(()), update=update, pairwise=True)
    x, slopes = np.ones((2, 2), np.float32), (jnp.full((2, 2), 3.0), jnp.full((2, 2), 5.0))
    acc = of_gradient(pair)
    assert float(acc.update(acc.init((SPEC, SPEC)), seen(x, None)._replace(gradient=slopes))) == 60


@pytest.fixture(scope="module")
def swept():
    """A network with everything that a gradient must follow, and its slopes by hand in float64."""
    rng = np.random.default_rng(4)
    kernel, head = rng.normal(size=(1, 1, 2, 4)), rng.normal(size=(4, CLASSES))
    x = rng.normal(size=(40, 3, 3, 2)).astype(np.float32)
    label = rng.integers(0, CLASSES, 40)

    def model(variables, image):
        with jax.named_scope("layer"):
            layer = jax.nn.relu(
                jax.lax.conv_general_dilated(
                    image, variables["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
            )
        return (layer**2).mean((1, 2)) @ variables["head"]

    variables = {"kernel": jnp.asarray(kernel, jnp.float32), "head": jnp.asarray(head, jnp.float32)}
    data = pwact.data.arrays(x, label, name="noise")
    probe = pwact.probe(model, x[:2], variables=variables)
    statistics = {
        "slope": of_gradient(moments()),
        "class": by_class(of_gradient(per_channel(moments())), CLASSES),
        "product": gradient_times_activation(moments()),
    }
    tree = pwact.sweep(
        *(probe, variables, data, statistics),
        sites=["input", "layer"],
        gradient_of=lambda logits, label, prediction: jnp.take_along_axis(logits, label[:, None], 1)[:, 0],
        batch_size=16,
    )
    kernel, head = (np.asarray(variables[name], np.float64) for name in ("kernel", "head"))
    layer = np.maximum(x.astype(np.float64) @ kernel[0, 0], 0)
    slope = 2 * layer / 9 * head.T[label][:, None, None]
    return (
        tree,
        {"layer": layer, "input": x.astype(np.float64)},
        {"layer": slope, "input": slope @ kernel[0, 0].T},
        label,
    )


@pytest.mark.parametrize("site", ["input", "layer"])
def test_a_sweep_gives_the_moments_of_gradients_and_of_their_products(swept, site):
    """Rounding of the slopes themselves: within 1e-5 of the largest."""
    tree, activations, slopes, label = swept
    for name, value in (("slope", slopes[site]), ("product", slopes[site] * activations[site])):
        size = np.abs(value).max()
        np.testing.assert_allclose(tree[site][f"{name}.mean"], value.mean(0), atol=1e-5 * size)
        np.testing.assert_allclose(tree[site][f"{name}.variance"], value.var(0), atol=1e-5 * size**2)
    for c in range(CLASSES):
        own = slopes[site][label == c].reshape(-1, slopes[site].shape[-1])
        np.testing.assert_allclose(tree[site]["class.mean"][c], own.mean(0), atol=1e-5 * np.abs(own).max())
        assert (tree[site]["class.count"][c] == len(own)).all()
