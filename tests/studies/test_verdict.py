import numpy as np
import pytest

from pwact.records import Criterion, Interval
from pwact.studies.verdict import Evidence, Finding, Measured, judge, lower, refute_p, support_p, upper

LOW = 1e-4


def normal(mean, spread=0.01, seeds=10):
    draws = mean + spread * np.random.default_rng(0).normal(size=4000)
    return Measured(mean, draws, seeds)


def prediction(support, refute, seeds=10):
    return Evidence("P0", "A", "Title", support, refute, [], seeds, "how")


def finding(met, p):
    return Finding(Criterion("metric", "support", "lower", 0.3, False, Interval(0.5, 0.4, 0.6), met), p)


@pytest.mark.parametrize(
    "mean, expected",
    [
        (0.99, "supported"),  # well above 0.95
        (0.95, "undetermined"),  # straddles the support threshold
        (0.90, "undetermined"),  # between the thresholds
        (0.85, "undetermined"),  # straddles the refute threshold
        (0.70, "refuted"),  # well below 0.85
    ],
)
def test_three_values_of_one_metric(mean, expected):
    measured = normal(mean)
    evidence = prediction(
        [lower("retained", "support", measured, 0.95, level=0.95)],
        [upper("retained", "refute", measured, 0.85, level=0.95, strict=True)],
    )
    assert judge([evidence], admissible=[True])[0].verdict == expected


def test_support_needs_every_criterion():
    good, straddling = normal(0.99), normal(0.50)
    both = [lower("a", "support", good, 0.9, level=0.95), lower("b", "support", straddling, 0.5, level=0.95)]
    refute = [upper("a", "refute", good, 0.8, level=0.95)]
    verdict = judge([prediction(both, refute)], admissible=[True])[0]
    assert verdict.verdict == "undetermined" and "b" in verdict.explanation
    assert judge([prediction(both[:1], refute)], admissible=[True])[0].verdict == "supported"


def test_any_refute_criterion_refutes():
    support = [lower("a", "support", normal(0.1), 0.9, level=0.95)]
    refute = [
        upper("x", "refute", normal(1.0), 0.0, level=0.95),
        upper("y", "refute", normal(-1.0), 0.0, level=0.95),
    ]
    verdict = judge([prediction(support, refute)], admissible=[True])[0]
    assert verdict.verdict == "refuted" and "y" in verdict.explanation


@pytest.mark.parametrize("met_support", [True, False])
@pytest.mark.parametrize("met_refute", [True, False])
@pytest.mark.parametrize("admissible", [True, False])
@pytest.mark.parametrize("seeds", [9, 10])
def test_truth_table(met_support, met_refute, admissible, seeds):
    evidence = prediction([finding(met_support, LOW)], [finding(met_refute, LOW)], seeds)
    verdict = judge([evidence], admissible=[admissible])[0].verdict
    if not admissible:
        assert verdict == "inadmissible"
    elif seeds < 10 or met_support == met_refute:
        assert verdict == "undetermined"
    else:
        assert verdict == ("supported" if met_support else "refuted")


def test_a_bound_on_the_threshold_meets_only_the_rule_that_is_not_strict():
    flat = Measured(0.5, np.full(1000, 0.5), seeds=10)
    for rule in (lower, upper):
        assert rule("m", "support", flat, 0.5, level=0.95).criterion.met
        assert not rule("m", "support", flat, 0.5, level=0.95, strict=True).criterion.met


def test_undefined_measurements_meet_nothing():
    undefined = Measured(np.nan, np.full(10, np.nan), seeds=10)
    for rule in (lower, upper):
        result = rule("m", "support", undefined, -1.0, level=0.95)
        assert not result.criterion.met and result.p_value == 1.0


def test_p_values_of_rules():
    support = [finding(True, 0.001), finding(True, 0.02)]
    refute = [finding(False, 0.3), finding(False, 0.6)]
    evidence = prediction(support, refute)
    assert support_p(evidence) == 0.02  # intersection-union: the largest
    assert refute_p(evidence) == pytest.approx(0.6)  # union: Bonferroni
    assert refute_p(prediction(support, [finding(False, 0.7)] * 2)) == 1.0


def test_holm_runs_over_the_predictions():
    borderline = prediction([finding(True, 0.03)], [finding(False, 1.0)])
    alone = judge([borderline], admissible=[True])[0]
    assert alone.verdict == "supported" and alone.p_holm == pytest.approx(0.03)
    two = judge([borderline, borderline], admissible=[True, True])
    assert [each.verdict for each in two] == ["undetermined"] * 2
    assert two[0].p_value == 0.03 and two[0].p_holm == pytest.approx(0.06)
    assert "Holm" in two[0].explanation
    # An inadmissible prediction stays in the family: leaving it out would be a choice after the numbers.
    kept = judge([borderline, borderline], admissible=[True, False])
    assert kept[0].p_holm == pytest.approx(0.06)


def test_refutations_are_adjusted_too():
    against = prediction([finding(False, 1.0)], [finding(True, 0.03)])
    alone = judge([against], admissible=[True])[0]
    assert alone.verdict == "refuted"
    assert alone.p_value == alone.p_holm == pytest.approx(0.03), "the p that decided, not that of the support"
    assert judge([against, against], admissible=[True, True])[0].verdict == "undetermined"
