"""From measured figures to intervals, criteria met or missed, and claims answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pwact.core.registry import nearest
from pwact.errors import PwactError
from pwact.experiment_record import Answer, AnsweredClaim, Figure, Judged, Rule
from pwact.experiments.experiment import Claim, Experiment, Measured, Outcome
from pwact.records import Interval
from pwact.train.evaluate import t_interval


def figures_of(experiment: Experiment, outcome: Outcome, seeds: int) -> dict[str, Figure]:
    """The figures by name, with their intervals, once they are known to be what was described.

    The interval is Student's t over the seeds, at 95 %.

    Args:
        experiment: whose criteria and claims name figures.
        outcome: what was measured.
        seeds: networks of each kind.

    Raises:
        PwactError: a figure that comes twice or has another number of values than seeds; a criterion or a
            claim about a figure that was not measured.
    """
    found: dict[str, Figure] = {}
    for each in outcome.figures:
        if each.name in found:
            raise PwactError("figures of different names", f"{each.name!r} twice", "rename one")
        if each.kind != "number" and len(each.values) != seeds:
            raise PwactError(
                f"one value of {each.name!r} for each of {seeds} seeds",
                f"{len(each.values)}",
                "give one a seed, or make it a `number`",
            )
        found[each.name] = Figure(each.name, each.kind, list(each.values), interval_of(each), each.how)
    named = [rule.figure for rule in experiment.criteria]
    named += [rule.figure for claim in experiment.claims for rule in claim.evidence]
    for name in named:
        if name not in found:
            raise PwactError(
                f"the figure {name!r}, which {experiment.stem} has a rule for",
                f"{len(found)} figures without it",
                nearest(name, found),
            )
    return found


def interval_of(measured: Measured) -> Interval:
    """Mean and 95 % t interval over the seeds; of a single value there is none.

    Example:
        >>> from pwact.experiments import per_seed
        >>> found = interval_of(per_seed("accuracy", [0.9, 1.0, 0.95]))
        >>> round(found.low, 3), round(found.estimate, 3), round(found.high, 3)
        (0.826, 0.95, 1.074)
    """
    values = np.array(measured.values)
    low, high = (math.nan, math.nan) if measured.kind == "number" else t_interval(values)
    return Interval(float(values.mean()), low, high)


def judged(rule: Rule, figures: Mapping[str, Figure]) -> Judged:
    """Whether a figure meets a rule: its mean, or each of its values. Nothing that is undefined does."""
    figure = figures[rule.figure]
    values: Sequence[float] = [figure.interval.estimate] if rule.over == "mean" else figure.values
    return Judged(rule, figure.interval, all(rule.meets(value) for value in values))


def answered(claim: Claim, figures: Mapping[str, Figure]) -> AnsweredClaim:
    """What the figures say to a claim: by whole intervals, so that a chance result decides nothing."""
    evidence = [judged(rule, figures) for rule in claim.evidence]
    answers = [_answer(rule, figures[rule.figure]) for rule in claim.evidence]
    answer: Answer = "holds" if answers else "not testable here"
    if "does not hold" in answers:
        answer = "does not hold"
    elif "undecided" in answers:
        answer = "undecided"
    return AnsweredClaim(claim.text, claim.status, answer, evidence, claim.because)


def _answer(rule: Rule, figure: Figure) -> Answer:
    interval = figure.interval
    if figure.kind == "number" or rule.over == "every seed":
        values = figure.values
        if any(math.isnan(value) for value in values):
            return "undecided"
        return "holds" if all(rule.meets(value) for value in values) else "does not hold"
    low, high = interval.low, interval.high
    if math.isnan(low) or math.isnan(high):
        return "undecided"
    if rule.meets(low) and rule.meets(high):
        return "holds"
    spans = rule.sign == "between" and low < rule.threshold and high > rule.upper
    return "does not hold" if not (rule.meets(low) or rule.meets(high) or spans) else "undecided"
