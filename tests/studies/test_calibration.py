import numpy as np
import pytest
import sklearn.metrics

from pwact.records import PlantedCheck
from pwact.studies import nulls
from pwact.studies.arrangement import AII_S, RETAINED
from pwact.studies.calibration import (
    accuracy_check,
    arrangement_planted,
    auroc,
    calibrate,
    concentration_planted,
    null_checks,
)
from pwact.studies.concentration import GINI
from pwact.studies.config import ArrangementRule, CalibrationRule, ConcentrationRule

RULE = CalibrationRule()
GOOD = [PlantedCheck("planted", "1", 1.0, True)]


def test_auroc_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 6, 10) / 5, rng.integers(0, 6, 12) / 5
        expected = sklearn.metrics.roc_auc_score([1] * 10 + [0] * 12, [*one, *other])
        assert auroc(one.tolist(), other.tolist()) == pytest.approx(expected)


def test_auroc_of_what_is_undefined():
    assert np.isnan(auroc([0.5, np.nan], [0.1])) and np.isnan(auroc([], [0.1]))


def calibrated(bag, relation, checks=None):
    return calibrate("metric", "P0", bag, relation, GOOD if checks is None else checks, RULE, "how")


def test_admissible_needs_auroc_seeds_and_planted_answers():
    high, low = [0.9] * 10, [0.1] * 10
    assert calibrated(high, low).admissible
    assert not calibrated(low, high).admissible  # told apart, but the wrong way round
    assert not calibrated(high, [0.1] * 9 + [1.0]).admissible  # AUROC 0.9
    assert not calibrated(high[:9], low[:9]).admissible
    assert not calibrated(high, low, [*GOOD, PlantedCheck("other", "0", 0.5, False)]).admissible
    assert not calibrated([*high[:9], float("nan")], low).admissible
    assert "Fewer than 10" in calibrated(high[:9], low[:9]).how


def test_networks_that_did_not_learn_calibrate_nothing():
    assert accuracy_check("bag", 0.97, RULE).passed
    assert not accuracy_check("bag", 0.94, RULE).passed


def test_planted_networks_give_their_answers():
    checks = {**arrangement_planted(RULE, 16), GINI: concentration_planted(RULE, 1e-3)}
    assert [len(each) for each in checks.values()] == [4, 2, 3, 4]
    assert all(check.passed for each in checks.values() for check in each)
    joint = {check.network: check.found for check in checks[AII_S]}
    assert joint["sums a score of each point vector"] == pytest.approx(1.0, abs=1e-12)
    assert [round(check.found) for check in checks[RETAINED]] == [1, 1, 0]


SMALL = CalibrationRule(null_trials=120, null_images=60, null_draws=1000)


@pytest.mark.parametrize(
    "null", nulls.arrangement_nulls(ArrangementRule(), SMALL, level=0.95), ids=lambda n: n.words
)
def test_false_verdicts_of_p1_are_rare(null):
    assert nulls.false_share(null, SMALL, level=0.95, seed=1) <= 0.05


@pytest.mark.parametrize(
    "null", nulls.concentration_nulls(ConcentrationRule(), SMALL, level=0.95), ids=lambda n: n.words
)
def test_false_verdicts_of_p4_are_rare(null):
    assert nulls.false_share(null, SMALL, level=0.95, seed=1) <= 0.05


def test_the_simulation_would_notice_a_rule_that_decides_too_often():
    """The same nulls at a level of 40 %: verdicts must be frequent, or the simulation is blind."""
    loose = nulls.concentration_nulls(ConcentrationRule(), SMALL, level=0.4)[0]
    assert nulls.false_share(loose, SMALL, level=0.4, seed=1) > 0.1


def test_nulls_reach_the_record():
    checks = null_checks(
        nulls.concentration_nulls(ConcentrationRule(), SMALL, level=0.95)[:1],
        CalibrationRule(null_trials=5),
        level=0.95,
        seed=0,
    )
    assert checks[0].passed and "false verdicts" in checks[0].expected and "true Gini" in checks[0].network
