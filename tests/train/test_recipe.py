"""Recipes refuse what cannot be trained, and schedule what they say."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pwact import objectives
from pwact.errors import PwactError
from pwact.train import MEMORISE, QUICK, Recipe
from pwact.train.recipe import NUMBERS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs as a whole number of 1 or more; found 0"),
        ({"batch_size": 0}, "batch_size as a whole number of 1 or more; found 0"),
        ({"batch_size": -5}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"momentum": 1.5}, r"momentum in 0 \.\. 1"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"warmup": 1.1}, "warmup"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"ema": 1.5}, r"ema in 0 \.\. 1"),
        ({"accumulate": 3}, "divides into `accumulate` equal parts; found batch_size=64, accumulate=3"),
        ({"objective": "cross_entropi"}, "nearest: cross_entropy"),
        ({"objective": "plain()"}, "one of: .*cross_entropy"),
        ({"regularizers": ("l3",)}, "'l3'"),
        ({"augment": "cropp(2)"}, "nearest: crop"),
    ],
)
def test_values_out_of_range(change, message):
    with pytest.raises(PwactError, match=message):
        Recipe(**change)


def numbers(recipe):
    return {name: getattr(recipe, name) for name in NUMBERS}


@pytest.mark.parametrize("images", [1, 10, 64, 1000])
@pytest.mark.parametrize(
    "recipe", [QUICK, MEMORISE, Recipe(epochs=1), Recipe(warmup=1.0), Recipe(warmup=0.0)]
)
def test_every_recipe_can_start_on_any_number_of_images(recipe, images):
    transformation = recipe.transformation(numbers(recipe), images)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    change, _ = transformation.update(params, transformation.init(params), params)
    assert np.isfinite(change["kernel"]).all()


def test_sgd_against_the_rule_written_out():
    """Nesterov: v = m v + g, step = -rate (g + m v + decay w); the first rate is a hundredth of the peak."""
    recipe = Recipe(epochs=10, optimizer="sgd", momentum=0.5, weight_decay=0.1, clip_norm=100.0, warmup=0.5)
    transformation = recipe.transformation(numbers(recipe), 640)
    params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.full((1,), 2.0)}
    slope = {"kernel": jnp.full((1, 1), 3.0), "bias": jnp.full((1,), 3.0)}
    change, state = transformation.update(slope, transformation.init(params), params)
    rate = 1e-2 / 100
    np.testing.assert_allclose(change["kernel"], -rate * (3 + 0.5 * 3 + 0.1 * 2), rtol=1e-5)
    np.testing.assert_allclose(change["bias"], -rate * (3 + 0.5 * 3), rtol=1e-5)
    change, _ = transformation.update(slope, state, params)
    rate = 1e-2 * (0.01 + 0.99 / 50)
    np.testing.assert_allclose(change["bias"], -rate * (3 + 0.5 * (3 + 0.5 * 3)), rtol=1e-5)


def test_gradients_are_clipped_together():
    recipe = dataclasses.replace(QUICK, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    transformation = recipe.transformation(numbers(recipe), 640)
    slope = {"kernel": jnp.full((1, 1), 30.0), "bias": jnp.full((1,), 40.0)}
    change, _ = transformation.update(slope, transformation.init(slope), slope)
    np.testing.assert_allclose(change["kernel"][0] / change["bias"], [0.75], rtol=1e-6)
    np.testing.assert_allclose(change["kernel"], -1e-4 * 0.6, rtol=1e-5)


def test_steps_are_counted_in_whole_batches():
    assert (QUICK.steps_per_epoch(4000), QUICK.steps_per_epoch(10)) == (62, 1)
    assert QUICK.steps(4000) == 372


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_against_optax(schedule):
    """optax's own schedules, joined after the warm-up, to float32's rounding."""
    recipe = Recipe(epochs=10, schedule=schedule, warmup=0.2)
    steps = recipe.steps(640)
    warm = 20
    after = {
        "cosine": optax.cosine_decay_schedule(1.0, steps - warm),
        "linear": optax.linear_schedule(1.0, 0.0, steps - warm),
        "constant": optax.constant_schedule(1.0),
    }[schedule]
    exact = optax.join_schedules([optax.linear_schedule(0.01, 1.0, warm), after], [warm])
    found = [float(recipe.rate(step, 640)) for step in range(steps)]
    np.testing.assert_allclose(found, [float(exact(step)) for step in range(steps)], atol=2e-6)


def test_texts_are_written_out_and_come_back():
    recipe = Recipe(objective="cross_entropy", augment="chain(crop(2), flip())", regularizers=("l2(1e-3)",))
    assert recipe == Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert recipe.objective == "cross_entropy(label_smoothing=0.0)"
    assert recipe == dataclasses.replace(recipe, objective=objectives.cross_entropy())
    with pytest.raises(PwactError, match="learning_rat"):
        Recipe.from_dict({"learning_rat": 0.1})


def test_structure_leaves_numbers_out_and_nothing_else():
    numbered = dataclasses.replace(QUICK, learning_rate=0.5, momentum=0.0, weight_decay=0.0, clip_norm=9.0)
    assert numbered.structure() == QUICK.structure()
    assert dataclasses.replace(QUICK, epochs=7).structure() != QUICK.structure()
