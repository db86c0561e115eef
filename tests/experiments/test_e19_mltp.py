"""What the MLTP experiment compares."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.experiments import Setting
from pwact.experiments.e19_mltp import EXPERIMENT, MLTP, SAME, TWICE, exactness, recipes
from pwact.experiments.judge import figures_of


def test_the_gradient_is_exact_to_float32():
    assert all(error < 1e-5 for error in exactness().values())


@pytest.mark.parametrize("images", [1000, 200])
def test_controls_take_as_many_images_a_step_and_as_many_or_twice_the_steps(images):
    found = recipes()
    assert found[MLTP].images_per_step(images) == found[SAME].images_per_step(images)
    assert found[MLTP].steps(images) == found[SAME].steps(images) == found[TWICE].steps(images) // 2
    # The sum of two means over 25, at .05 and 5, is the mean over 50 at .1 and 2.5.
    assert found[SAME].learning_rate == 2 * found[MLTP].learning_rate
    assert found[SAME].clip_norm == found[MLTP].clip_norm / 2


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
