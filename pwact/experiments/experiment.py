"""What an experiment is: a description that is pure data, and one function that measures."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from pwact.errors import NonFiniteError, PwactError
from pwact.experiment_record import Curve, CurveLine, Part, Rule, Status, Table

Scale = Literal["small", "full"]


class Claim(NamedTuple):
    """Something the paper claims; it gates nothing.

    Args:
        text: in our words.
        status: how we know that it is claimed.
        evidence: what must hold of which figures; none where nothing here can speak to it.
        because: why it cannot be tested here, or what the reader should know.
    """

    text: str
    status: Status
    evidence: tuple[Rule, ...] = ()
    because: str = ""


class Measured(NamedTuple):
    """A figure as an experiment measured it; made by `per_seed`, `paired` or `number`."""

    name: str
    kind: Literal["per seed", "paired", "number"]
    values: tuple[float, ...]
    how: str


class Outcome(NamedTuple):
    """What a run measured.

    Args:
        figures: everything that was measured, criteria or not, under names of their own.
        tables, curves: for the page and for other tools; made by `table` and `curve`.
        notes: what the reader should know about this very run.
    """

    figures: Sequence[Measured]
    tables: Sequence[Table] = ()
    curves: Sequence[Curve] = ()
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """One specification's experiment: what is claimed, what must be met, and how it is measured.

    Args:
        number: of the specification, 1 to 99.
        name: short, of letters, digits and underscores: the file's name is `eNN_name.py`.
        title: for people.
        paper: authors, title, where it appeared.
        claim: what the paper claims, in one sentence.
        parts: how each part of the method is known.
        criteria: what must be met; a run that misses one fails.
        claims: what the paper claims, and by which figures it would show here.
        first_seed: seeds are `first_seed`, `first_seed + 1`, ...: fresh ones, fixed in the code.
        seeds: how many, as specified.
        run: `run(setting, progress)`: trains and measures. `progress(stage, share)` says how far it is.
        scales: sizes that it has: `small` is the specified one.
        remarks: what is known about the results and was found out after them, e.g. why a criterion fails.

    Raises:
        PwactError: a number or name that makes no file name, or no seed.
    """

    number: int
    name: str
    title: str
    paper: str
    claim: str
    parts: tuple[Part, ...]
    criteria: tuple[Rule, ...]
    claims: tuple[Claim, ...]
    first_seed: int
    seeds: int
    run: Callable[[Any, Callable[[str, float], None]], Outcome]
    scales: tuple[Scale, ...] = ("small",)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 99 or not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise PwactError(
                "a number in 1 .. 99 and a name of small letters, digits and underscores",
                f"{self.number} and {self.name!r}",
                "correct the experiment",
            )
        if self.seeds < 1 or not self.scales:
            raise PwactError(
                "one seed and one scale or more", f"{self.seeds} and {self.scales}", "correct the experiment"
            )

    @property
    def status(self) -> Status:
        """That of its least certain part."""
        found = {part.status for part in self.parts}
        return next(
            each for each in ("reconstruction", "abstract", "code") if each in found or each == "code"
        )

    @property
    def stem(self) -> str:
        """Of its file: `e16_norm_loss`."""
        return f"e{self.number:02d}_{self.name}"


def per_seed(name: str, values: Any, how: str = "") -> Measured:
    """A figure with one value a network, in the order of the seeds.

    Example:
        >>> per_seed("accuracy", [0.5, 0.75]).values
        (0.5, 0.75)
    """
    return Measured(name, "per seed", _numbers(name, values), how)


def paired(name: str, values: Any, others: Any, how: str = "") -> Measured:
    """The difference of two kinds of networks, seed by seed: values - others.

    Example:
        >>> paired("gain", [0.5, 0.75], [0.25, 0.25]).values
        (0.25, 0.5)
    """
    one, other = _numbers(name, values), _numbers(name, others)
    if len(one) != len(other):
        raise PwactError(
            "as many values on both sides", f"{len(one)} and {len(other)} for {name!r}", "pair them by seed"
        )
    return Measured(name, "paired", tuple(a - b for a, b in zip(one, other, strict=True)), how)


def number(name: str, value: Any, how: str = "") -> Measured:
    """One value over all seeds, or of none: it has no interval.

    Example:
        >>> number("graphs that agree", 20).values
        (20.0,)
    """
    return Measured(name, "number", _numbers(name, [value]), how)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of text and numbers; NaN becomes empty.

    Example:
        >>> table("Accuracy", ["network", "mean"], [("plain", np.float32(0.5)), ("other", np.nan)]).rows
        [['plain', 0.5], ['other', None]]
    """
    for row in rows:
        if len(row) != len(columns):
            raise PwactError(
                f"{len(columns)} cells a row in the table {title!r}", f"{len(row)}", "fill or drop cells"
            )
    return Table(title, list(columns), [[_cell(value) for value in row] for row in rows])


def curve(title: str, x_title: str, x: Any, lines: Mapping[str, Any]) -> Curve:
    """Lines over one axis.

    Args:
        title: what is drawn.
        x_title: the axis in words.
        x: [x], increasing.
        lines: by name, [seed, x]; NaN where it is undefined.

    Raises:
        PwactError: a line of another length than `x`.

    Example:
        >>> curve("Loss", "epoch", [1, 2], {"plain": [[0.5, 0.25]]}).lines[0].values
        [[0.5, 0.25]]
    """
    at = np.asarray(x, np.float64)
    drawn = []
    for name, values in lines.items():
        array = np.asarray(values, np.float64)
        if array.ndim != 2 or array.shape[1:] != at.shape:
            raise PwactError(
                f"values of shape [seed, {len(at)}] for {name!r} in {title!r}",
                f"{list(array.shape)}",
                "give one row a seed",
            )
        drawn.append(CurveLine(name, array.tolist()))
    return Curve(title, x_title, at.tolist(), drawn)


def _cell(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    found = tuple(float(value) for value in np.asarray(values, np.float64).ravel())
    if any(math.isinf(value) for value in found):
        raise NonFiniteError(
            f"finite values of {name!r}, or NaN where it is undefined",
            f"{list(found)}"[:80],
            "find out where it was measured",
        )
    return found
