"""What a study leaves behind: plain tables that reports draw. Imports no jax.

A run folder holds `study.json` (one `StudyRecord`) and `arrays.nc` (an `xarray.DataTree` with the
arrays named in docs/design.md).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

VerdictName = Literal["supported", "refuted", "undetermined", "inadmissible"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A point estimate with its two-sided interval at `level`."""

    estimate: float
    low: float
    high: float
    level: float = 0.95


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One inequality of a verdict rule and what was measured for it.

    Args:
        name: what was measured, e.g. "AII_s (fill: dataset mean)".
        side: whether meeting the rule speaks to `support` or `refute`.
        rule: the inequality in words, e.g. "lower bound >= 0.5".
        interval: the measured value.
        met: whether the rule holds.
    """

    name: str
    side: Literal["support", "refute"]
    rule: str
    interval: Interval
    met: bool


@dataclasses.dataclass(frozen=True)
class Control:
    """The same metric measured on a network or an order where the answer should differ."""

    metric: str
    network: str
    interval: Interval


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One prediction's verdict. `p_value` and `p_holm` are of the support rule."""

    prediction: str
    reading: str
    title: str
    verdict: VerdictName
    p_value: float
    p_holm: float
    criteria: list[Criterion]
    controls: list[Control]
    explanation: str
    how: str


@dataclasses.dataclass(frozen=True)
class PlantedCheck:
    """A metric on a network built by hand, whose answer is known."""

    network: str
    expected: str
    found: float
    passed: bool


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Does one metric tell `bag` from `relation`, and does it see what was planted?"""

    metric: str
    prediction: str
    auroc: float
    required_auroc: float
    bag: list[float]
    relation: list[float]
    planted: list[PlantedCheck]
    admissible: bool
    how: str


@dataclasses.dataclass(frozen=True)
class Network:
    """One kind of network in the study. `accuracy` is over its seeds, on the named split."""

    name: str
    description: str
    seeds: int
    split: str
    accuracy: Interval
    parameters: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """Everything a report says in words and tables."""

    title: str
    question: str
    preset: str
    dataset: dict[str, Any]
    configuration: dict[str, Any]
    summary: list[str]
    networks: list[Network]
    calibration: list[Calibration]
    verdicts: list[Verdict]
    limits: list[str]
    provenance: dict[str, Any]
    schema: int = 1
