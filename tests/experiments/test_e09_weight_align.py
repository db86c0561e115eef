"""What the WeightAlign experiment trains."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.experiments import Setting
from pwact.experiments.e09_weight_align import DEEP, EXPERIMENT, NORMS, _arms
from pwact.experiments.judge import figures_of
from pwact.models import parameters


def test_its_networks_are_those_of_the_specification():
    arms = {arm.name: arm for arm in _arms()}
    assert len(arms) == 3 * len(NORMS) + len(DEEP)
    deep = arms["WA centred, 16 layers"]
    assert deep.config.widths == (16,) * 16 and deep.recipe.batch_size == 50
    assert {arms[f"{norm}, 16 layers"].recipe for norm in DEEP} == {deep.recipe}
    for batch, rate in ((2, 0.1 / 32), (8, 0.1 / 8), (64, 0.1)):
        recipe = arms[f"BN, batch {batch}"].recipe
        assert (recipe.batch_size, recipe.epochs) == (batch, 15)
        assert recipe.learning_rate == pytest.approx(rate)
    # One scale for each filter, in the place of nothing.
    plain, aligned = (parameters(arms[f"{norm}, batch 8"].config) for norm in ("none", "WA"))
    assert aligned - plain == 16 + 32 + 32


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert len(setting.trained) == 22
