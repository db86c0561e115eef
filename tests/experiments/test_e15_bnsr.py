"""What the BNSR experiment measures with, against scipy."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import pwact
from pwact.experiments import UNIT, Setting, base_config, digits_parts
from pwact.experiments.e15_bnsr import (
    DISTANCE,
    EXPERIMENT,
    POINTS,
    SKEW,
    TRAINED_SKEW,
    channels,
    distance,
    skewness,
)
from pwact.experiments.judge import figures_of
from pwact.models import build
from pwact.train import train


def test_skewness_and_distance_are_those_of_scipy():
    y = np.random.default_rng(0).gamma([1.0, 2.0, 5.0, 9.0], size=(1500, 4))
    np.testing.assert_allclose(skewness(y), scipy.stats.skew(y), rtol=1e-9)
    chosen = y[np.random.default_rng(0).choice(1500, POINTS, replace=False)]
    pairs = [
        scipy.stats.wasserstein_distance(chosen[:, i], chosen[:, j])
        for i, j in itertools.combinations(range(4), 2)
    ]
    assert distance(y) == pytest.approx(np.mean(pairs), rel=1e-9)


def test_channels_are_looked_at_before_scale_and_bias():
    """Changing them where nothing follows changes no figure of the last layer, hence none of all three."""
    parts = digits_parts(100)
    config = base_config(norm="bnsr()")
    trained = train(config, parts.train, seeds=[0], treatment="untrained", preprocess=UNIT)
    images = [UNIT(jnp.asarray(part.read(np.arange(100)).image)) for part in (parts.train, parts.test)]
    probe = pwact.probe(build(config, 0), images[0][:1])
    before = channels(probe, trained, 0, *images)
    norm = trained.variables["blocks"][2]["norm"]
    norm["scale"][...] = 3 * norm["scale"][...]
    norm["bias"][...] = norm["bias"][...] - 2
    assert channels(probe, trained, 0, *images) == before
    assert before[TRAINED_SKEW] < 1e-5 < before[SKEW] and before[DISTANCE] > 0
    # Nothing was seen in training: all ratios are those of a normal distribution.
    assert before["least ratio of slopes"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert len(setting.trained) == 6
