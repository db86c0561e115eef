"""What the MaxDropout experiment measures with."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.experiments import UNIT, Setting, base_config, digits_parts
from pwact.experiments.e26_max_dropout import EXPERIMENT, SITES, extremes
from pwact.experiments.judge import figures_of
from pwact.models import build
from pwact.train import train


def test_extremes_are_those_of_the_maps():
    parts = digits_parts(100)
    trained = train(base_config(), parts.train, seeds=[4], treatment="untrained", preprocess=UNIT)
    image = UNIT(jnp.asarray(parts.test.read(np.arange(50)).image))
    ratio, share = extremes(trained, image)
    seen = pwact.probe(build(base_config(), 0), image[:1]).run(trained.at(0), image, sites=SITES)[1]
    maps = [np.asarray(seen[site], np.float64) for site in SITES]
    assert ratio[0] == pytest.approx(np.mean([each.max() / each.mean() for each in maps]), rel=1e-4)
    # All maps begin at 0: behind a ReLU that is their least.
    assert share[0] == pytest.approx(np.mean([(each > 0.7 * each.max()).mean() for each in maps]), rel=1e-4)


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert len(setting.trained) == 10
