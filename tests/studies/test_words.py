"""What a study says on the screen: five lines that need no glossary."""

import dataclasses

import numpy as np

from pwact.records import Calibration, Interval, Network, PlantedCheck
from pwact.studies import arrangement, concentration, preset, words
from pwact.studies.arrangement import AII_S, DIFFERENCE, RETAINED
from pwact.studies.concentration import GINI
from pwact.studies.verdict import Measured, judge
from pwact.studies.words import calibrated, limits, summary, too_few

QUICK = preset("quick")
NETWORK = Network("trained", "", 10, "test", Interval(0.97, 0.96, 0.98), 100, 1.0)


def flat(value, seeds=10):
    return Measured(value, np.full(10_000, value), seeds)


def judged(config):
    found = [
        arrangement.evidence(
            flat(0.3), flat(0.4), flat(0.7), config.arrangement, level=config.level, controls=[]
        ),
        concentration.evidence(
            flat(0.7), flat(0.1), flat(0.2), config.concentration, level=config.level, controls=[]
        ),
    ]
    return judge(found, admissible=[True, True])


def calibration(metric, auroc=1.0, passed=True):
    check = PlantedCheck("trained on bag", "held-out accuracy >= 0.95", 0.54, passed)
    return Calibration(metric, "P1", auroc, 0.95, [], [], [check], passed and auroc >= 0.95, "")


METRICS = (AII_S, DIFFERENCE, RETAINED, GINI)


def said(config=QUICK, calibrations=None):
    every = calibrations or [calibration(metric) for metric in METRICS]
    return summary(judged(config), every, [NETWORK], config, "mnist5k", 75.0)


def test_five_lines_in_words_with_the_signs_of_print():
    lines = said()
    assert len(lines) == 5
    for line in lines:
        for term in ("AII", ">=", "<=", "+-", " -0.", "retained", "kappa"):
            assert term not in line
    assert "Refuted: accuracy kept by networks trained with shuffled points 0.700" in lines[0]
    assert "(needs ≥ 0.95: not met)" in lines[0] and "−0.100 [−0.100, −0.100] (needs > 0.1" in lines[0]
    assert "Gini index: 0 all alike, 1 one has all" in lines[1] and "Supported: " in lines[1]
    assert lines[2] == "Calibration on networks whose answer is known: 4 of 4 measures pass."
    assert "97.0 %" in lines[3] and "95 % interval" in lines[4]


def test_a_failed_calibration_says_what_failed():
    line = calibrated([calibration(AII_S, auroc=0.5), calibration(GINI, passed=False)], QUICK)
    assert "0 of 2 measures pass" in line and "AUROC 0.50 (needs 0.95)" in line
    assert "trained on bag (held-out accuracy ≥ 0.95: found 0.54)" in line


def test_too_few_networks_are_the_reason_on_every_line_that_a_verdict_could_stand_in():
    smoke = preset("smoke")
    reason = "2 networks of each kind are fewer than the 10 that a verdict needs"
    assert too_few(smoke) == reason and limits(smoke)[0] == f"This run gives no verdict: {reason}."
    lines = said(smoke, [calibration(metric, passed=False) for metric in METRICS])
    assert all(f"No verdict ({reason}):" in line for line in lines[:2]) and reason in lines[2]
    few = dataclasses.replace(QUICK, calibration_seeds=5)
    assert "5 networks on each calibration set" in too_few(few)
    assert limits(QUICK) == words.LIMITS
