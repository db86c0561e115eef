"""Evaluation and training: which switches are thrown, and what is asked for when that is not clear."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pwact
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (4, 6, 6, 3))


class Switched(nnx.Module):
    """Adds one for every switch that says training."""

    def __init__(self, rngs):
        self.training = True
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x, *, train: bool = True, is_eval: bool = False):
        return self.norm(self.drop(x)) * 0.0 + float(self.training) + float(train) + float(not is_eval)


@pytest.mark.parametrize(("mode", "expected"), [("evaluation", 0.0), ("training", 3.0)])
def test_attributes_and_arguments_that_switch_are_set(mode, expected):
    model = Switched(nnx.Rngs(0))
    probed = pwact.probe(model, IMAGE, mode=mode)
    outputs = probed.run(probed.variables, IMAGE)[0]
    outputs = outputs[0] if mode == "training" else outputs
    np.testing.assert_array_equal(outputs, expected)
    assert model.training is True and model.drop.deterministic is False


class LinenSwitched(linen.Module):
    training: bool = True

    @linen.compact
    def __call__(self, x, deterministic: bool):
        return linen.BatchNorm(use_running_average=deterministic)(x) * 0.0 + float(self.training)


@pytest.mark.parametrize(("mode", "expected"), [("evaluation", 0.0), ("training", 1.0)])
def test_fields_and_arguments_of_linen_modules_are_set(mode, expected):
    model = LinenSwitched()
    variables = model.init(jax.random.key(0), IMAGE, deterministic=True)
    outputs, _ = pwact.probe(model, IMAGE, variables=variables, mode=mode).run(variables, IMAGE)
    outputs = outputs[0] if mode == "training" else outputs
    np.testing.assert_array_equal(outputs, expected)


def test_training_draws_from_the_streams_in_the_variables_and_returns_them():
    model = nnx.Sequential(nnx.Linear(3, 8, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    probed = pwact.probe(model, IMAGE, mode="training")
    run = jax.jit(lambda v, x: probed.run(v, x)[0])
    first, after = run(probed.variables, IMAGE)
    again, _ = run(probed.variables, IMAGE)
    second, _ = run(after, IMAGE)
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(second)).any()
    assert jax.tree.structure(after) == jax.tree.structure(probed.variables)
    direct = nnx.clone(model)
    direct.train()
    np.testing.assert_allclose(direct(IMAGE), first, rtol=1e-5, atol=1e-6)


def test_training_steps_can_be_scanned():
    model = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    probed = pwact.probe(model, IMAGE, mode="training")

    def step(variables, _):
        (_, variables), _ = probed.run(variables, IMAGE)
        return variables, None

    after, _ = jax.lax.scan(step, probed.variables, None, length=3)
    for _ in range(3):
        model(IMAGE)
    for left, right in zip(jax.tree.leaves(after), jax.tree.leaves(nnx.state(model)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_a_function_in_training_mode_returns_the_pair():
    def model(variables, image):
        return jnp.tanh(image) * variables, variables + 1

    probed = pwact.probe(model, IMAGE, variables=jnp.ones(()), mode="training")
    (_, after), _ = probed.run(jnp.ones(()), IMAGE)
    np.testing.assert_array_equal(after, 2.0)
    assert probed.sites["output"].shape == (6, 6, 3)
    with pytest.raises(PwactError, match="returns \\(outputs, new variables\\) in training mode"):
        pwact.probe(lambda v, x: x * v, IMAGE, variables=jnp.ones(()), mode="training")


def test_dropout_of_linen_in_training_says_how_to_give_it_a_key():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, train: bool):
            return linen.Dropout(0.5, deterministic=not train)(x)

    with pytest.raises(PwactError, match=r"function\(\(variables, key\), image\).*rngs="):
        pwact.probe(Net(), IMAGE, variables={}, mode="training")


def test_a_model_that_needs_more_arguments_is_an_error_that_says_which():
    class Net(nnx.Module):
        def __call__(self, x, temperature):
            return x / temperature

    with pytest.raises(PwactError, match="also needs temperature; wrap it in a function"):
        pwact.probe(Net(), IMAGE)


@pytest.mark.parametrize(
    ("model", "image", "options", "message"),
    [
        (jnp.tanh, IMAGE, {"mode": "test"}, "mode 'evaluation' or 'training'"),
        ("resnet", IMAGE, {}, "a Flax module or a function; found str"),
        (jnp.tanh, jnp.float32(1.0), {}, "an image with a batch axis"),
        (lambda x: x["a"] + x["b"], {"a": IMAGE, "b": IMAGE[:1]}, {}, "arrays whose first axis is the batch"),
        (lambda x: x @ jnp.ones((4, 2)), IMAGE, {}, r"runs on float32\[4, 6, 6, 3\]; found TypeError"),
    ],
)
def test_what_cannot_be_probed_is_one_clear_error(model, image, options, message):
    with pytest.raises(PwactError, match=message):
        pwact.probe(model, image, **options)
