"""The three-valued verdict: rules that were fixed beforehand, applied to intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pwact.records import Control, Criterion, Interval, Verdict, VerdictName
from pwact.studies import inference
from pwact.studies.inference import Resamples

Side = Literal["support", "refute"]


class Measured(NamedTuple):
    """A statistic: its value in the data and in every bootstrap draw."""

    estimate: float
    draws: np.ndarray
    seeds: int

    def interval(self, level: float) -> Interval:
        return inference.interval(self.estimate, self.draws, seeds=self.seeds, level=level)


def measure(value: Callable[[Resamples], np.ndarray], weights: Resamples) -> Measured:
    """A statistic in the data and in every draw, by one formula.

    Args:
        value: weights -> the statistic, one a draw.
        weights: the bootstrap's.

    Returns:
        The statistic.

    Example:
        >>> table = np.full((3, 4), 2.0)
        >>> weights = inference.resample(3, 4, draws=10, seed=0)
        >>> float(measure(lambda w: inference.mean_draws(table, w), weights).estimate.round(6))
        2.0
    """
    seeds, images = weights.seeds.shape[1], weights.images.shape[1]
    return Measured(value(inference.all_once(seeds, images))[0], value(weights), seeds)


def difference(one: Measured, other: Measured) -> Measured:
    """One statistic minus another, draw by draw: paired where both were drawn with the same weights."""
    return Measured(one.estimate - other.estimate, one.draws - other.draws, one.seeds)


class Finding(NamedTuple):
    """A criterion, and the p-value of the hypothesis that it does not hold."""

    criterion: Criterion
    p_value: float


class Evidence(NamedTuple):
    """What one prediction was found to be, before anything is decided.

    Args:
        prediction, reading, title, how: as in `records.Verdict`.
        support: all of these must hold for support.
        refute: any one of these refutes.
        controls: the same metric where its answer should differ.
        seeds: number of networks of each kind.
    """

    prediction: str
    reading: str
    title: str
    support: list[Finding]
    refute: list[Finding]
    controls: list[Control]
    seeds: int
    how: str


def lower(
    name: str, side: Side, measured: Measured, threshold: float, *, level: float, strict: bool = False
) -> Finding:
    """The criterion that the interval's lower bound is >= (or, strict, >) the threshold.

    Args:
        name: what was measured.
        side: what meeting the criterion speaks for.
        measured: the statistic.
        threshold: what its lower bound must reach.
        level: of the interval.
        strict: whether reaching it is not enough.

    Returns:
        The criterion with its p-value.

    Example:
        >>> flat = Measured(0.7, np.full(100, 0.7), seeds=10)
        >>> lower("Gini", "support", flat, 0.6, level=0.95).criterion.met
        True
    """
    bounds = measured.interval(level)
    met = bounds.low > threshold if strict else bounds.low >= threshold
    p = inference.p_value(measured.draws, threshold, above=True, seeds=measured.seeds)
    return Finding(Criterion(name, side, "lower", threshold, strict, bounds, bool(met)), p)


def upper(
    name: str, side: Side, measured: Measured, threshold: float, *, level: float, strict: bool = False
) -> Finding:
    """The criterion that the interval's upper bound is <= (or, strict, <) the threshold.

    Arguments and result as in `lower`.

    Example:
        >>> flat = Measured(0.7, np.full(100, 0.7), seeds=10)
        >>> upper("retained", "refute", flat, 0.85, level=0.95, strict=True).criterion.rule
        'upper bound < 0.85'
    """
    bounds = measured.interval(level)
    met = bounds.high < threshold if strict else bounds.high <= threshold
    p = inference.p_value(measured.draws, threshold, above=False, seeds=measured.seeds)
    return Finding(Criterion(name, side, "upper", threshold, strict, bounds, bool(met)), p)


def support_p(evidence: Evidence) -> float:
    """p-value of "not all support criteria hold": the largest of theirs (an intersection-union test)."""
    return max(each.p_value for each in evidence.support)


def refute_p(evidence: Evidence) -> float:
    """p-value of "no refute criterion holds": the least of theirs times their number (Bonferroni)."""
    return min(1.0, len(evidence.refute) * min(each.p_value for each in evidence.refute))


def judge(
    evidence: Sequence[Evidence],
    *,
    admissible: Sequence[bool],
    level: float = 0.95,
    minimum_seeds: int = 10,
) -> list[Verdict]:
    """One verdict a prediction.

    *Supported*: every support criterion holds and Holm's p over the predictions is <= 1 - level.
    *Refuted*: some refute criterion holds and Holm's p of the refutations is <= 1 - level. Anything
    else is *undetermined*, and so is everything measured on fewer than `minimum_seeds` seeds. A metric
    that failed its calibration is *inadmissible*, whatever its numbers say.

    Args:
        evidence: one a prediction; Holm runs over all of them, admissible or not.
        admissible: whether the metric passed its calibration, in the same order.
        level: of the intervals.
        minimum_seeds: fewer give no verdict.

    Returns:
        The verdicts in the same order. Their p-values are of the refutation where
        it decided, of the support rule elsewhere.
    """
    supports = inference.holm([support_p(each) for each in evidence])
    refutes = inference.holm([refute_p(each) for each in evidence])
    verdicts = []
    for each, good, p_support, p_refute in zip(evidence, admissible, supports, refutes, strict=True):
        name, explanation = _decide(each, good, p_support, p_refute, 1 - level, minimum_seeds)
        criteria = [tested.criterion for tested in (*each.support, *each.refute)]
        verdicts.append(
            Verdict(
                prediction=each.prediction,
                reading=each.reading,
                title=each.title,
                verdict=name,
                p_value=refute_p(each) if name == "refuted" else support_p(each),
                p_holm=p_refute if name == "refuted" else p_support,
                criteria=criteria,
                controls=each.controls,
                explanation=explanation,
                how=each.how,
            )
        )
    return verdicts


def _decide(
    evidence: Evidence, admissible: bool, p_support: float, p_refute: float, alpha: float, minimum_seeds: int
) -> tuple[VerdictName, str]:
    supported = all(each.criterion.met for each in evidence.support)
    against = [each.criterion for each in evidence.refute if each.criterion.met]
    few = f"A verdict needs at least {minimum_seeds} seeds; these numbers come from {evidence.seeds}."
    enough = evidence.seeds >= minimum_seeds
    if not admissible:
        failed = "The metric failed its calibration, so its numbers decide nothing."
        return "inadmissible", failed if enough else f"{failed} {few}"
    if not enough:
        return "undetermined", few
    if supported and p_support <= alpha and not against:
        return "supported", f"Every support criterion holds (Holm-adjusted p = {p_support:.3g})."
    if against and p_refute <= alpha and not supported:
        held = "; ".join(f"{each.name}: {each.rule}" for each in against)
        return "refuted", f"A refute criterion holds: {held} (Holm-adjusted p = {p_refute:.3g})."
    if supported or against:
        side, p = ("support", p_support) if supported else ("refute", p_refute)
        return "undetermined", f"The {side} rule holds by its intervals but not after Holm (p = {p:.3g})."
    missed = "; ".join(each.criterion.name for each in evidence.support if not each.criterion.met)
    return "undetermined", f"Not refuted, and not supported because of: {missed}."
