"""What the norm-loss experiment measures with."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.experiments import Setting, base_config, digits_parts
from pwact.experiments.e16_norm_loss import EXPERIMENT, distance_from_one
from pwact.experiments.judge import figures_of
from pwact.train import train


def test_the_distance_from_one_is_that_of_every_filter_and_of_the_readout():
    trained = train(base_config(norm="batch"), digits_parts(100).train, seeds=[0, 1], treatment="untrained")
    filters, readouts = distance_from_one(trained)
    for place in range(2):
        network = trained.at(place)
        convolutions = [network["blocks"][i]["conv"]["kernel"][...] for i in range(3)]
        for kernels, found, count in (
            (convolutions, filters, 16 + 32 + 32),
            ([network["head"]["kernel"][...]], readouts, 10),
        ):
            columns = [np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1]).T for kernel in kernels]
            lengths = np.array([np.linalg.norm(column) for part in columns for column in part])
            assert len(lengths) == count
            np.testing.assert_allclose(found[place], np.abs(lengths - 1).mean(), rtol=1e-6)


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    figures = figures_of(EXPERIMENT, EXPERIMENT.run(setting, lambda stage, done: None), 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert len(setting.trained) == 22
