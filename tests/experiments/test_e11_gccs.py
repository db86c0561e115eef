"""What the GCCS experiment measures with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pwact.experiments import Setting, base_config, base_recipe, digits_parts
from pwact.experiments.e11_gccs import (
    DISTANCE,
    EXPERIMENT,
    MEAN,
    SPREAD,
    TAILS,
    UNIT,
    fit,
    means_alone,
    separation,
    survivors,
)
from pwact.experiments.judge import figures_of
from pwact.train import train

LABEL = np.repeat(np.arange(10), 400).astype(np.int32)


def clouds(deviation: float, scale: float = MEAN) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(len(LABEL), 10))
    return (scale * np.eye(10)[LABEL] + deviation * noise).astype(np.float32)


def test_separation_of_gaussians_at_the_vertices_is_their_closed_form():
    # Squared distance 2 * 10^2, over ten variances of 2^2; 400 images a class: some per cent.
    assert abs(separation(clouds(2.0), LABEL) / (200 / 40) - 1) < 0.06


def test_a_fit_finds_deviation_kurtosis_and_distance():
    good = fit(clouds(1.5), LABEL)
    # Means of 400 have a standard error of .075; the largest of a hundred lies within four of these.
    assert good[DISTANCE] < 0.3
    assert abs(good[SPREAD] - 1.5) < 0.02 and abs(good[TAILS] - 3) < 0.1
    far = fit(clouds(1.5, scale=MEAN + 2), LABEL)
    assert abs(far[DISTANCE] - 2) < 0.3


def test_the_control_loss_sees_means_alone():
    z, valid, step = jnp.asarray(clouds(1.0)), jnp.ones(len(LABEL), bool), jnp.int32(0)
    wide = jnp.asarray(clouds(1.0) + 3 * np.tile([1.0, -1.0], len(LABEL) // 2)[:, None].astype(np.float32))
    loss, label = means_alone().loss, jnp.asarray(LABEL)
    np.testing.assert_allclose(loss(z, label, valid, step), loss(wide, label, valid, step), rtol=1e-3)
    error = np.array([clouds(1.0)[LABEL == k].mean(0) for k in range(10)]) - MEAN * np.eye(10)
    np.testing.assert_allclose(loss(z, label, valid, step), 0.5 * (error**2).sum(1).mean(), rtol=1e-3)
    dirty = z.at[::2].set(jnp.nan)
    assert np.isfinite(jax.grad(loss)(dirty, label, valid.at[::2].set(False), step)).all()


def test_a_larger_ball_leaves_fewer_survivors_and_none_that_was_wrong():
    parts = digits_parts(100)
    trained = train(
        base_config(), parts.train, seeds=[5], recipe=base_recipe(epochs=20, batch_size=25), preprocess=UNIT
    )
    chosen = np.arange(150)
    image = np.asarray(UNIT(jnp.asarray(parts.test.read(chosen).image)))
    # What this network says, so that all are right to begin with, but for the first.
    model = trained.config.build(nnx.Rngs(0))
    nnx.update(model, trained.at(0))
    label = np.array(model(jnp.asarray(image)).argmax(-1), np.int32)
    label[0] = (label[0] + 1) % 10
    near, far = (survivors(trained, 0, image, label, epsilon) for epsilon in (1e-4, 0.3))
    assert near.shape == (2, 150)
    assert (near.sum(1) > far.sum(1)).all() and not near[:, 0].any()


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
