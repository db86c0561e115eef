"""Planted nulls: how often would the rules decide when there is nothing to decide?

Tables as a study measures them are drawn from a population whose true values lie on a threshold, the
hardest place for a rule, or between the thresholds. Every verdict that the whole chain from bootstrap to
rule then gives is a false one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from pwact.studies import arrangement, concentration, inference, verdict
from pwact.studies.arrangement import AII_S, DIFFERENCE, RETAINED
from pwact.studies.concentration import GINI
from pwact.studies.config import ArrangementRule, CalibrationRule, ConcentrationRule
from pwact.studies.verdict import Evidence


class Null(NamedTuple):
    """A population without an answer.

    Args:
        metric: the one whose true value lies where it should not decide.
        words: what is planted.
        evidence: (random generator, weights of two sets of images) -> one study's evidence.
    """

    metric: str
    words: str
    evidence: Callable[[np.random.Generator, tuple[inference.Resamples, inference.Resamples]], Evidence]


def false_share(null: Null, rule: CalibrationRule, *, level: float, seed: int) -> float:
    """Share of studies of a planted null that end in a verdict.

    Args:
        null: the population.
        rule: how many studies, of how many seeds and images, with how many draws.
        level: of the intervals.
        seed: of the populations' draws.

    Returns:
        The share of *supported* and *refuted* together.
    """
    rng = np.random.default_rng(seed)
    first, second = (
        inference.resample(rule.seeds, rule.null_images, draws=rule.null_draws, seed=seed, image_set=place)
        for place in range(2)
    )
    given = 0
    # Thousands of small products: threads that wait for one another would cost more than they do.
    with threadpool_limits(1, "blas"):
        for _ in range(rule.null_trials):
            evidence = null.evidence(rng, (first, second))
            judged = verdict.judge([evidence], admissible=[True], level=level, minimum_seeds=rule.seeds)
            given += judged[0].verdict in ("supported", "refuted")
    return given / rule.null_trials


def arrangement_nulls(rule: ArrangementRule, drawn_by: CalibrationRule, *, level: float) -> list[Null]:
    """Nulls of P1: each threshold in turn, and the gap between them.

    Args:
        rule: the thresholds.
        drawn_by: what the simulated tables are like.
        level: of the intervals.

    Returns:
        The nulls.
    """

    classes, chance = drawn_by.null_classes, 1 / drawn_by.null_classes
    low, permutations = drawn_by.null_aii_i, drawn_by.null_permutations

    def shares(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> np.ndarray:
        """Shares of permutations under which each image's decision stays."""
        return rng.binomial(permutations, _propensity(rng, shape, mean, drawn_by)) / permutations

    def null(metric: str, value: float, aii_s: float, aii_i: float, kept: float) -> Null:
        def drawn(
            rng: np.random.Generator, weights: tuple[inference.Resamples, inference.Resamples]
        ) -> Evidence:
            shape = (weights[0].seeds.shape[1], weights[0].images.shape[1])
            clean = rng.integers(0, classes, shape)
            joint, channel = (
                arrangement.aii(shares(rng, shape, chance + value * (1 - chance)), clean, classes, weights[0])
                for value in (aii_s, aii_i)
            )
            left = chance + kept * (drawn_by.null_accuracy - chance)
            correct = rng.random(shape) < _propensity(rng, shape, drawn_by.null_accuracy, drawn_by)
            retained = arrangement.retained(
                correct.astype(float), shares(rng, shape, left), classes, weights[0]
            )
            return arrangement.evidence(joint, channel, retained, rule, level=level, controls=[])

        return Null(metric, f"true {metric} = {value:g}", drawn)

    between = (rule.retained_support + rule.retained_refute) / 2
    high = (1 + rule.aii_support) / 2
    gap = rule.difference_support
    return [
        null(AII_S, rule.aii_support, rule.aii_support, low, 1.0),
        null(DIFFERENCE, gap, high, high - gap, 1.0),
        *(
            null(RETAINED, kept, high, low, kept)
            for kept in (rule.retained_support, between, rule.retained_refute)
        ),
    ]


def concentration_nulls(rule: ConcentrationRule, drawn_by: CalibrationRule, *, level: float) -> list[Null]:
    """Nulls of P4: Gini on its threshold, and networks that do not differ.

    Args:
        rule: the thresholds.
        drawn_by: what the simulated tables are like.
        level: of the intervals.

    Returns:
        The nulls.
    """

    def null(words: str, trained: float, untrained: float, trained_on_train: float, shuffled: float) -> Null:
        def drawn(
            rng: np.random.Generator, weights: tuple[inference.Resamples, inference.Resamples]
        ) -> Evidence:
            shape = (weights[0].seeds.shape[1], weights[0].images.shape[1])
            gini, other, seen, learnt_by_heart = (
                concentration.mean(_propensity(rng, shape, value, drawn_by), weights[place])
                for value, place in ((trained, 0), (untrained, 0), (trained_on_train, 1), (shuffled, 1))
            )
            above = verdict.difference(gini, other), verdict.difference(seen, learnt_by_heart)
            return concentration.evidence(gini, *above, rule, level=level, controls=[])

        return Null(GINI, words, drawn)

    at, low, high = rule.gini_support, drawn_by.null_gini, (1 + rule.gini_support) / 2
    return [
        null(f"true Gini = {at:g}", at, low, at, low),
        null("trained, untrained and shuffled alike", high, high, high, high),
        null("trained and shuffled alike", high, low, high, high),
    ]


def _propensity(
    rng: np.random.Generator, shape: tuple[int, int], mean: float, drawn_by: CalibrationRule
) -> Float[np.ndarray, "seed image"]:
    """Chances with exactly this mean that vary over images (shared by the seeds) and over seeds."""
    images = rng.beta(2 * mean, 2 * (1 - mean), (1, shape[1]))
    seeds = rng.uniform(-drawn_by.null_spread, drawn_by.null_spread, (shape[0], 1))
    return images + seeds * images * (1 - images)
