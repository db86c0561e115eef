"""Criteria and claims: the arithmetic against scipy, every sign, and what is undefined never passes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from pwact.errors import NonFiniteError, PwactError
from pwact.experiments import Claim, Outcome, Rule, curve, number, paired, per_seed, table
from pwact.experiments.judge import answered, figures_of, interval_of, judged

from . import doubles


def figures(*measured):
    experiment = doubles.experiment(criteria=(), claims=())
    seeds = max((len(each.values) for each in measured if each.kind != "number"), default=1)
    return figures_of(experiment, Outcome(measured), seeds)


def met(rule, *measured):
    return judged(rule, figures(*measured)).met


def answer(rule, *measured):
    return answered(Claim("It does.", "abstract", (rule,)), figures(*measured)).answer


def test_the_interval_is_students():
    values = np.array([0.91, 0.95, 0.93, 0.96])
    found = interval_of(per_seed("a", values))
    low, high = scipy.stats.t.interval(0.95, 3, values.mean(), scipy.stats.sem(values))
    assert found.estimate == pytest.approx(values.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_paired_differences_lose_what_the_seeds_share():
    seeds = np.array([0.1, 0.5, 0.9])
    found = interval_of(paired("gain", seeds + 0.02, seeds))
    assert found.low == pytest.approx(0.02, abs=1e-12) and found.high == pytest.approx(0.02, abs=1e-12)


@pytest.mark.parametrize(
    ("sign", "below", "on", "above"),
    [(">=", 0, 1, 1), (">", 0, 0, 1), ("<=", 1, 1, 0), ("<", 1, 0, 0)],
)
def test_every_sign_on_both_sides_of_its_threshold(sign, below, on, above):
    rule = Rule("a", sign, 0.5)
    found = [met(rule, per_seed("a", [value])) for value in (0.25, 0.5, 0.75)]
    assert found == [bool(below), bool(on), bool(above)]


def test_between_includes_its_ends():
    rule = Rule("a", "between", 0.25, 0.75)
    assert [met(rule, number("a", value)) for value in (0.2, 0.25, 0.5, 0.75, 0.8)] == [0, 1, 1, 1, 0]


def test_the_mean_may_pass_where_a_seed_does_not():
    accuracy = per_seed("a", [0.8, 1.0, 1.0])
    assert met(Rule("a", ">=", 0.9), accuracy)
    assert not met(Rule("a", ">=", 0.9, over="every seed"), accuracy)


@pytest.mark.parametrize("sign", [">=", ">", "<=", "<"])
def test_undefined_values_meet_nothing(sign):
    assert not met(Rule("a", sign, 0.5), per_seed("a", [math.nan, 0.5]))
    assert not met(Rule("a", sign, 0.5, over="every seed"), per_seed("a", [math.nan, math.nan]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.10, 0.11, 0.12], "holds"),
        ([-0.10, -0.11, -0.12], "does not hold"),
        ([-0.1, 0.0, 0.12], "undecided"),
        ([0.1], "undecided"),
        ([math.nan, 0.1, 0.1], "undecided"),
    ],
)
def test_a_claim_is_answered_by_the_whole_interval(values, expected):
    assert answer(Rule("a", ">", 0), per_seed("a", values)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.9, 1.0, 1.1], "undecided"), ([0.99, 1.0, 1.01], "holds"), ([3.0, 3.1, 3.2], "does not hold")],
)
def test_a_claim_of_a_range(values, expected):
    rule = Rule("a", "between", 0.95, 1.05)
    assert answer(rule, per_seed("a", values)) == expected


def test_a_number_without_seeds_answers_as_it_is():
    assert answer(Rule("a", ">=", 20), number("a", 20)) == "holds"
    assert answer(Rule("a", ">", 20), number("a", 20)) == "does not hold"


def test_one_figure_against_a_claim_outweighs_another_for_it():
    both = Claim("Both.", "code", (Rule("a", ">", 0), Rule("b", ">", 0)))
    found = figures(number("a", 1), number("b", -1))
    assert answered(both, found).answer == "does not hold"
    assert answered(Claim("Far.", "code", because="too large"), found).answer == "not testable here"


def test_a_rule_about_a_figure_that_was_not_measured_is_an_error():
    experiment = doubles.experiment(criteria=(Rule("acuracy", ">", 0),), claims=())
    with pytest.raises(PwactError, match=r"acuracy.*nearest: accuracy"):
        figures_of(experiment, Outcome([number("accuracy", 1)]), 3)
    of_a_claim = doubles.experiment(criteria=(), claims=(Claim("c", "code", (Rule("b", ">", 0),)),))
    with pytest.raises(PwactError, match="'b'"):
        figures_of(of_a_claim, Outcome([number("a", 1)]), 3)


def test_every_seed_must_have_its_value():
    with pytest.raises(PwactError, match="each of 3 seeds"):
        figures_of(doubles.experiment(criteria=(), claims=()), Outcome([per_seed("a", [1, 2])]), 3)
    with pytest.raises(PwactError, match="3 and 2"):
        paired("gain", [1, 2, 3], [1, 2])


def test_a_name_comes_once():
    with pytest.raises(PwactError, match="twice"):
        figures(number("a", 1), number("a", 2))


def test_infinity_is_no_measurement():
    with pytest.raises(NonFiniteError, match="'a'"):
        per_seed("a", [1.0, math.inf])


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(PwactError, match="upper end"):
        Rule("a", "between", 0.5, 0.4)
    with pytest.raises(PwactError, match="upper end"):
        Rule("a", ">=", 0.5, 0.6)


def test_ragged_tables_and_curves_are_refused():
    with pytest.raises(PwactError, match="2 cells"):
        table("t", ["a", "b"], [[1]])
    with pytest.raises(PwactError, match=r"\[seed, 2\]"):
        curve("c", "epoch", [1, 2], {"line": [[1.0]]})
