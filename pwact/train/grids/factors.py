"""Factors: what varies in a grid, and the levels that it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pwact.core.registry import nearest
from pwact.errors import PwactError
from pwact.train.grids.draft import Draft
from pwact.train.grids.settings import Setting, applied, setting
from pwact.train.grids.values import assignment, shown, split_outside

Mode = Literal["grid", "one_at_a_time"]

COLUMNS = ("cell", "seed", "split", "epoch", "loss", "accuracy", "parameters", "diverged")
"""Names that the tables have already."""


@dataclasses.dataclass(frozen=True)
class Factor:
    """What varies and the levels it takes; the first level is what the others are compared with.

    Args:
        setting: what it sets.
        levels: typed values, at least one.
        labels: each level as tables show it: all numbers, or all text.
    """

    setting: Setting
    levels: tuple[Any, ...]
    labels: tuple[Any, ...]

    @property
    def name(self) -> str:
        """In tables, arrays and names of cells."""
        return self.setting.qualified if self.setting.name in COLUMNS else self.setting.name


def parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """`NAME=LEVEL,LEVEL,...` of the command line as the mapping that `grid` takes.

    Example:
        >>> parse_vary(["norm=none,batch", "objective=cross_entropy(),gccs(mean=10.0, ramp=(0, 1))"])
        {'norm': ['none', 'batch'], 'objective': ['cross_entropy()', 'gccs(mean=10.0, ramp=(0, 1))']}
    """
    vary: dict[str, list[str]] = {}
    for text in texts:
        name, rest = assignment(text)
        if name in vary:
            raise PwactError("each factor once", f"{name} twice", "give all its levels at once")
        if not rest:
            raise PwactError(f"levels of {name}", repr(text), "write it like norm=none,batch")
        vary[name] = split_outside(rest)
    return vary


def factors_of(vary: Mapping[str, Sequence[Any]], base: Draft, mode: str) -> tuple[Factor, ...]:
    """Factors from names and levels as a person gave them.

    Args:
        vary: levels by name; a level is text or a value.
        base: what they are varied from.
        mode: `one_at_a_time` puts the base's own level first, and adds it where it was not given.

    Raises:
        PwactError: no factor; one that does not exist, is ambiguous, has no levels, one twice or two of one
            name; two that set the same.
    """
    if mode not in get_args(Mode):
        raise PwactError(
            f"mode as one of: {', '.join(get_args(Mode))}", repr(mode), nearest(mode, get_args(Mode))
        )
    if not vary:
        raise PwactError("at least one factor", "none", 'vary something, such as {"norm": ["none", "batch"]}')
    found: list[Factor] = []
    for name, given in vary.items():
        one = setting(name, base)
        for other in found:
            _check_apart(one, other.setting)
        if one.home == "stream" and one.name in base.streams:
            raise PwactError(f"{one.name} to vary or to be held", "both", "drop one of them")
        found.append(_factor(one, given, base, mode))
    return tuple(found)


def _factor(one: Setting, given: Any, base: Draft, mode: str) -> Factor:
    name = one.name
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise PwactError(f"a list of levels of {name}", repr(given)[:80], f"give it like {{{name!r}: [...]}}")
    levels = [_settled(one, one.value(level), base) for level in given]
    for place, level in enumerate(levels):
        if level in levels[:place]:
            raise PwactError(
                f"different levels of {name}",
                f"{shown(given[place])} after {shown(given[levels.index(level)])}, which is the same",
                "drop one of them",
            )
    texts = [
        shown(level) if isinstance(level, int | float) else _label(text)
        for level, text in zip(levels, given, strict=True)
    ]
    if mode == "one_at_a_time":
        own = one.read(base)
        if own in levels:
            place = levels.index(own)
            own, text = levels.pop(place), texts.pop(place)
        else:
            text = {"stream": "seed", "whole": "base"}.get(one.home) or shown(own)
        levels, texts = [own, *levels], [text, *texts]
    numbers = all(isinstance(text, int | float) and not isinstance(text, bool) for text in texts)
    labels = tuple(texts) if numbers else tuple(str(text) for text in texts)
    for label in labels:
        if labels.count(label) > 1:
            raise PwactError(
                f"levels of {name} that can be told apart",
                f"{labels.count(label)} called {label}",
                "give them names that differ",
            )
    return Factor(one, tuple(levels), labels)


def _label(given: Any) -> str:
    return " ".join(given.split()) if isinstance(given, str) else str(shown(given))


def _settled(one: Setting, value: Any, base: Draft) -> Any:
    """A value as the base keeps it, so that the same method written in two ways is one level."""
    if one.home in ("data", "stream"):
        return value
    try:
        return one.read(applied(base, {one: value}))
    except PwactError:  # it may fit together with another factor's level; if not, its cells will say so
        return value


def _check_apart(one: Setting, other: Setting) -> None:
    if one == other:
        raise PwactError("each factor once", f"{one.qualified} twice", "give all its levels at once")
    both = one.touches & other.touches
    if both and {one.home, other.home} != {"shape"}:
        raise PwactError(
            "factors that set different things",
            f"{one.name} and {other.name}, which both set {', '.join(sorted(both))}",
            "vary one of them",
        )
