"""Everything that decides a verdict, fixed before anything runs and written into the record."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ArrangementRule:
    """Thresholds of P1, in its own words in `studies.arrangement`."""

    retained_support: float = 0.95
    aii_support: float = 0.5
    difference_support: float = 0.1
    retained_refute: float = 0.85


@dataclasses.dataclass(frozen=True)
class ConcentrationRule:
    """Thresholds of P4, in its own words in `studies.concentration`."""

    gini_support: float = 0.6
    difference_support: float = 0.0
    difference_refute: float = 0.0


@dataclasses.dataclass(frozen=True)
class CalibrationRule:
    """What a metric must pass before it may decide anything.

    Args:
        auroc: least AUROC of `bag` against `relation` networks.
        seeds: least number of networks of each kind.
        accuracy: least held-out accuracy of those networks; below it they did not learn their task.
        tolerance: largest error of a planted network's answer.
        false_verdicts: largest share of supported or refuted verdicts on planted nulls.
        null_trials, null_images, null_draws: how many planted nulls, and how large each is.
    """

    auroc: float = 0.95
    seeds: int = 10
    accuracy: float = 0.95
    tolerance: float = 0.05
    false_verdicts: float = 0.05
    null_trials: int = 400
    null_images: int = 100
    null_draws: int = 2000
