"""What the experiment of quadratic convolutions trains on, and what it trains."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.experiments import Setting
from pwact.experiments.e22_cqnn import EXPERIMENT, FORM, MATCHED, PLAIN, _arms, textures
from pwact.experiments.judge import figures_of
from pwact.models import parameters


def test_textures_differ_in_the_second_order_alone():
    data = textures(2000, 3)
    pixels = 2.0 * data.read(np.arange(2000)).image[..., 0] - 1
    for label, product in ((0, -0.5), (1, 0.5)):
        own = pixels[np.asarray(data.labels) == label]
        # Five standard errors; rows are independent, neighbours in a row are not, hence 12,000 rows.
        assert abs(own.mean()) < 5 / np.sqrt(12_000)
        assert abs((own[:, :, 1:] * own[:, :, :-1]).mean() - product) < 5 / np.sqrt(12_000)
        assert abs((own[:, 1:] * own[:, :-1]).mean()) < 5 / np.sqrt(12_000)
    assert textures(50, 0).fingerprint == textures(50, 0).fingerprint != textures(50, 1).fingerprint


def test_its_networks_have_the_parameters_of_the_specification():
    counts = {arm.name: parameters(arm.config) for arm in _arms()}
    assert (counts[PLAIN], counts[FORM]) == (1954, 44722)
    assert abs(counts[MATCHED] / counts[FORM] - 1) < 0.02


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert len(setting.trained) == 7
