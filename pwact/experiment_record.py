"""What an experiment leaves behind: what was measured, against what, and what of the paper holds here.

Imports no jax. A run folder holds `experiment.json` (one `ExperimentRecord`), which everything on the page
comes from; the tables beside it say the same again for other tools.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any, Literal

from pwact.errors import PwactError
from pwact.records import Interval, read_record

SCHEMA = 1
RECORD = "experiment.json"

Status = Literal["code", "abstract", "reconstruction"]
Sign = Literal[">=", ">", "<=", "<", "between"]
Answer = Literal["holds", "does not hold", "undecided", "not testable here"]


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a method and how it is known.

    Args:
        name: which part, e.g. "the penalty".
        status: `code`: read from the authors' own program; `abstract`: stated in the paper's abstract;
            `reconstruction`: ours, after what could be read.
        note: what a reader should know about it.
    """

    name: str
    status: Status
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One inequality that a figure should meet.

    Args:
        figure: the figure's name.
        sign: how it is compared; `between` includes both ends.
        threshold: what it is compared with; the lower end of `between`.
        upper: the upper end of `between`; NaN elsewhere.
        over: whether the mean over seeds is compared, or every seed for itself.
        source: where the threshold comes from, in words.

    Raises:
        PwactError: `between` without an upper end above its lower one, or another sign with one.

    Example:
        >>> Rule("accuracy", ">=", 0.9).words, Rule("slope", "between", 0.9, 1.1, over="every seed").words
        ('>= 0.9 in the mean', '0.9 .. 1.1 in every seed')
    """

    figure: str
    sign: Sign
    threshold: float | int
    upper: float | int = math.nan
    over: Literal["mean", "every seed"] = "mean"
    source: str = ""

    def __post_init__(self) -> None:
        if (self.sign == "between") != (self.upper > self.threshold):
            raise PwactError(
                "an upper end above the threshold for `between`, and none for another sign",
                f"{self.sign} {self.threshold} .. {self.upper} for {self.figure!r}",
                "correct the rule",
            )

    @property
    def words(self) -> str:
        """The inequality as text."""
        bound = (
            f"{self.threshold:g} .. {self.upper:g}"
            if self.sign == "between"
            else f"{self.sign} {self.threshold:g}"
        )
        return f"{bound} in {'every seed' if self.over == 'every seed' else 'the mean'}"

    def meets(self, value: float) -> bool:
        """Whether a value meets it; an undefined one (NaN) does not.

        Example:
            >>> Rule("gain", ">", 0).meets(0.0), Rule("gain", ">=", 0).meets(0.0)
            (False, True)
        """
        return {
            ">=": value >= self.threshold,
            ">": value > self.threshold,
            "<=": value <= self.threshold,
            "<": value < self.threshold,
            "between": self.threshold <= value <= self.upper,
        }[self.sign]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured figure.

    Args:
        name: unlike all others of the experiment.
        kind: `per seed`: one value a network; `paired`: the difference of two networks of the same seed;
            `number`: one value over all seeds, or of none.
        values: in the order of the record's seeds, or one number; NaN where it is undefined.
        interval: the mean and Student's t interval over the seeds; NaN at both ends where there is none.
        how: how it was measured.
    """

    name: str
    kind: Literal["per seed", "paired", "number"]
    values: list[float]
    interval: Interval
    how: str = ""


@dataclasses.dataclass(frozen=True)
class Judged:
    """A rule and whether the figure met it."""

    rule: Rule
    interval: Interval
    met: bool


@dataclasses.dataclass(frozen=True)
class AnsweredClaim:
    """Something the paper claims, and what these figures say to it.

    Args:
        claim: in our words.
        status: how we know that it is claimed.
        answer: `holds` or `does not hold` where every interval lies clear of its threshold, `undecided`
            where one straddles it, `not testable here` where nothing at this scale speaks to it.
        evidence: the figures it was answered by.
        because: why it cannot be tested here, or what the reader should know.
    """

    claim: str
    status: Status
    answer: Answer
    evidence: list[Judged]
    because: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text and numbers; None is undefined."""

    title: str
    columns: list[str]
    rows: list[list]


@dataclasses.dataclass(frozen=True)
class CurveLine:
    """One line of a curve: values [seed][x]."""

    name: str
    values: list[list[float]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Lines over one axis, each with a value for every seed."""

    title: str
    x_title: str
    x: list[float]
    lines: list[CurveLine]


@dataclasses.dataclass(frozen=True)
class TrainedArm:
    """One kind of network that was trained: how many, how large, how long, and from what."""

    name: str
    networks: int
    parameters: int
    seconds: float
    configuration: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ExperimentRecord:
    """Everything that a page says, and all that it draws."""

    number: int
    name: str
    title: str
    paper: str
    claim: str
    parts: list[Part]
    scale: str
    seeds: list[int]
    seeds_specified: int
    figures: list[Figure]
    criteria: list[Judged]
    claims: list[AnsweredClaim]
    tables: list[Table]
    curves: list[Curve]
    arms: list[TrainedArm]
    notes: list[str]
    provenance: dict[str, Any]
    schema: int = SCHEMA

    @property
    def met(self) -> bool:
        """Whether every criterion was met."""
        return all(each.met for each in self.criteria)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence.

        Example:
            >>> ExperimentRecord(
            ...     16, "e", "E", "", "", [], "small", [0], 3, [], [], [], [], [], [], [], {}
            ... ).sentence
            'it has no criterion to meet'
        """
        if not self.criteria:
            return "it has no criterion to meet"
        met = sum(each.met for each in self.criteria)
        count = len(self.criteria)
        return (
            f"{met} of {count} criteria met" if count > 1 else f"its criterion {'met' if met else 'missed'}"
        )


def read_experiment(folder: str | os.PathLike[str]) -> ExperimentRecord:
    """The record in a run folder.

    Raises:
        PwactError: no such file, unreadable, truncated, or not an experiment of this schema.
    """
    return read_record(Path(folder) / RECORD, ExperimentRecord)
