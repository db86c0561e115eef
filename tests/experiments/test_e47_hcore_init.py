"""What the Hcore-Init experiment checks and counts."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.experiments import Setting
from pwact.experiments import e47_hcore_init as experiment
from pwact.experiments.judge import figures_of, judged


def test_all_graphs_agree_and_a_wrong_peeling_would_be_seen(monkeypatch):
    found = experiment.exactness()
    assert found[experiment.PLAIN] == found[experiment.DEFINED] == experiment.GRAPHS
    assert found[experiment.ORDER] <= 1e-12 and found[experiment.MONOTONE] == 0
    monkeypatch.setattr(experiment, "core_numbers", lambda incidence: incidence.sum(0))
    wrong = experiment.exactness()
    assert wrong[experiment.PLAIN] == 0 and wrong[experiment.DEFINED] < experiment.GRAPHS / 2


def test_the_epoch_of_the_target_counts_from_one_and_never_is_one_more():
    loss = np.array([[2.0, 0.4, 0.6], [0.4, 2.0, 2.0], [2.0, 2.0, 2.0]])
    assert experiment.epochs_to(0.5, loss).tolist() == [2, 1, 4]


@pytest.mark.slow
def test_its_small_mode_measures_every_figure():
    setting = Setting("small", seeds=(0,), epochs=1)
    outcome = experiment.EXPERIMENT.run(setting, lambda stage, done: None)
    figures = figures_of(experiment.EXPERIMENT, outcome, 1)
    assert all(np.isfinite(figure.values).all() for figure in figures.values())
    assert all(judged(rule, figures).met for rule in experiment.EXPERIMENT.criteria)
