"""The geometry of a report's charts. Templates turn it into SVG; every chart says in words what it shows.

Two kinds: *rows* are tracks that stretch with the page (positions in percent), *lines* have a fixed
frame that is drawn at its own size, so that letters keep theirs on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from pwact.records import Calibration, Control, Criterion, Interval, Verdict
from pwact.report import numbers
from pwact.report.arrays import Series

WIDTH, HEIGHT = 340, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38

Hue = Callable[[str], str]
"""A network's name to the class that gives it its colour and dash."""


class Axis(NamedTuple):
    """A range of values and its round numbers."""

    low: float
    high: float
    ticks: list[float]

    def percent(self, value: float) -> float:
        """Where a value lies in percent of the range, held to it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(100 * share, 2)


class Mark(NamedTuple):
    """One shape on a track: a `zone` or `span` from x to x2, a `line`, a `dot` or a `seed` at x.

    All places are in percent; `y` runs from 0 above to 100 below. `hue` is a class of the style sheet.
    """

    kind: str
    x: float
    x2: float = 0.0
    y: float = 50.0
    hue: str = ""


class Row(NamedTuple):
    """A track of `height` pixels with its label on the left and its number on the right."""

    label: str
    value: str
    marks: list[Mark]
    alt: str
    note: str = ""
    met: bool | None = None
    height: int = 24


class Rows(NamedTuple):
    """Tracks over one axis, in groups with a heading each."""

    groups: list[tuple[str, list[Row]]]
    ticks: list[tuple[float, str]]
    title: str = ""


class Line(NamedTuple):
    """One curve and the band of its seeds, as SVG paths."""

    name: str
    hue: str
    path: str
    band: str


class Lines(NamedTuple):
    """A framed chart in pixels of WIDTH x HEIGHT."""

    title: str
    x_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    alt: str
    diagonal: str = ""


def axis(values: Iterable[float], count: int = 5) -> Axis:
    """The range of the finite values, a little wider, with about `count` round numbers.

    Example:
        >>> axis([0.0, 1.0]).ticks
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    margin = 0.04 * (high - low)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(base for base in (1, 2, 5, 10) if base * power >= 0.999 * raw)
    first, last = math.ceil((low - margin / 2) / step), math.floor((high + margin / 2) / step)
    return Axis(low - margin, high + margin, [round(i * step, 12) for i in range(first, last + 1)])


def forest(verdict: Verdict, hue: Hue) -> Rows:
    """A verdict's criteria against their thresholds, the controls of the same metrics underneath.

    Args:
        verdict: with its criteria and controls.
        hue: a network's name to its colour.
    """
    near, _ = _controls(verdict)
    intervals = [each.interval for each in verdict.criteria] + [each.interval for each in near]
    scale = _scale(intervals, [each.threshold for each in verdict.criteria])
    groups = [
        (heading, [_criterion(each, scale) for each in verdict.criteria if each.side == side])
        for side, heading in (("support", "Supported if all of"), ("refute", "Refuted if any of"))
    ]
    groups.append(("Controls", [_control(each, scale, hue) for each in near]))
    return Rows([group for group in groups if group[1]], _ticks(scale))


def further_controls(verdict: Verdict, hue: Hue) -> Rows:
    """The controls of other metrics than those that decide, over an axis of their own."""
    _, others = _controls(verdict)
    scale = _scale([each.interval for each in others], [])
    rows = [_control(each, scale, hue) for each in others]
    return Rows([("", rows)] if rows else [], _ticks(scale))


def _controls(verdict: Verdict) -> tuple[list[Control], list[Control]]:
    """Controls of a metric that a criterion names, and the others; all of them first if none is."""
    decisive = {each.name for each in verdict.criteria}
    near = [each for each in verdict.controls if each.metric in decisive]
    if not near:
        return list(verdict.controls), []
    return near, [each for each in verdict.controls if each.metric not in decisive]


def _scale(intervals: list[Interval], limits: list[float]) -> Axis:
    return axis([0.0, *limits, *(x for each in intervals for x in (each.low, each.estimate, each.high))])


def _control(control: Control, scale: Axis, hue: Hue) -> Row:
    marks = [Mark("line", scale.percent(0.0), hue="zero")]
    marks += _whisker(control.interval, scale, hue(control.network))
    label = f"{control.metric}, {control.network}"
    alt = f"{label}: {_said(control.interval)}"
    return Row(label, numbers.interval(control.interval), marks, alt, height=18)


def _criterion(each: Criterion, scale: Axis) -> Row:
    edges = sorted((each.threshold, scale.high if each.bound == "lower" else scale.low))
    marks = [
        Mark("line", scale.percent(0.0), hue="zero"),
        Mark("zone", scale.percent(edges[0]), scale.percent(edges[1]), hue=each.side),
        Mark("line", scale.percent(each.threshold), hue=each.side),
    ]
    marks += _whisker(each.interval, scale, "met" if each.met else "unmet")
    rule, met = numbers.pretty_rule(each.rule), "met" if each.met else "not met"
    alt = f"{each.name}: {_said(each.interval)}; rule to {each.side}: {rule}, {met}"
    return Row(each.name, numbers.interval(each.interval), marks, alt, note=rule, met=each.met)


def calibration(record: Calibration) -> Rows:
    """The metric on every seed of both calibration sets."""
    scale = axis([*record.bag, *record.relation])
    rows = [
        _dots(name, values, _over_all(np.array(values, float)), scale, name)
        for name, values in (("bag", record.bag), ("relation", record.relation))
    ]
    return Rows([("", rows)], _ticks(scale))


def by_network(series: Series, hue: Hue) -> Rows:
    """One track a network: a dot for every seed, a line for the value over all."""
    means = [_seed_means(values) for values in series.values]
    over_all = [
        _over_all(values) if series.pooled is None else float(series.pooled[place, 0])
        for place, values in enumerate(series.values)
    ]
    scale = axis([*(x for each in means for x in each), *over_all])
    rows = [
        _dots(name, each, mean, scale, hue(name))
        for name, each, mean in zip(series.networks, means, over_all, strict=True)
    ]
    where = f" at {series.x[0]}" if len(series.x) == 1 and isinstance(series.x[0], str) else ""
    return Rows([("", rows)], _ticks(scale), title=series.title + where)


def by_place(series: Series, hue: Hue) -> Rows:
    """One track a site or order: every network's value over all seeds, with the range of its seeds."""
    scale = axis([*series.values[np.isfinite(series.values)].tolist(), 0.0, 1.0])
    rows = []
    for i, site in enumerate(series.x):
        marks, said = [Mark("line", scale.percent(0.0), hue="zero")], []
        for lane, name in enumerate(series.networks):
            seeds = series.values[lane, :, i]
            known = seeds[np.isfinite(seeds)]
            if not len(known):
                continue
            value = known.mean() if series.pooled is None else series.pooled[lane, i]
            span = Interval(float(value), float(known.min()), float(known.max()))
            y = round(100 * (lane + 1) / (len(series.networks) + 1), 1)
            marks += _whisker(span, scale, hue(name), y)
            some = f" ({len(known)} of {len(seeds)} seeds have one)" if len(known) < len(seeds) else ""
            said.append(f"{name} {numbers.number(span.estimate)}{some}")
        alt = f"{series.title} at {site}: {', '.join(said)}"
        rows.append(Row(str(site), "", marks, alt, height=16 * len(series.networks)))
    return Rows([("", rows)], _ticks(scale), title=series.title)


def lines(series: Series, x_title: str, hue: Hue, *, diagonal: bool = False) -> Lines:
    """Mean over seeds with the band from the lowest seed to the highest.

    Args:
        series: the curves.
        x_title: the horizontal axis in words.
        hue: a network's name to its colour.
        diagonal: also draw y = x.
    """
    x = np.asarray(series.x, float)
    whole, drawn, said = np.isfinite(series.values), [], []
    across, up = axis(x.tolist(), 4), axis(series.values[whole].tolist(), 4)

    def at(horizontal: float, vertical: float) -> str:
        return f"{_along(across, horizontal):.1f} {_up(up, vertical):.1f}"

    for name, values, known in zip(series.networks, series.values, whole, strict=True):
        keep = known.any(axis=0)
        some = np.where(known, values, np.nan)[:, keep]
        mean, low, high = np.nanmean(some, 0), np.nanmin(some, 0), np.nanmax(some, 0)
        path = "M" + "L".join(at(*pair) for pair in zip(x[keep], mean, strict=True))
        if len(mean) == 1:
            path += "m-3 0h6"  # a single value is a short stroke
        there = [at(*pair) for pair in zip(x[keep], high, strict=True)]
        back = [at(*pair) for pair in zip(x[keep][::-1], low[::-1], strict=True)]
        drawn.append(Line(name, hue(name), path, "M" + "L".join(there + back) + "Z"))
        said.append(f"{name} from {numbers.number(float(mean[0]))} to {numbers.number(float(mean[-1]))}")
    return Lines(
        title=series.title,
        x_title=x_title,
        x_ticks=[(_along(across, tick), numbers.tick(tick)) for tick in across.ticks],
        y_ticks=[(_up(up, tick), numbers.tick(tick)) for tick in up.ticks],
        lines=drawn,
        alt=f"{series.title} by {x_title}, mean over seeds: {'; '.join(said)}.",
        diagonal=f"M{at(0.0, 0.0)}L{at(1.0, 1.0)}" if diagonal else "",
    )


def _along(scale: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - scale.low) / (scale.high - scale.low)


def _up(scale: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - scale.low) / (scale.high - scale.low)


def _whisker(value: Interval, scale: Axis, hue: str, y: float = 50.0) -> list[Mark]:
    if not math.isfinite(value.estimate):
        return []
    marks = [Mark("dot", scale.percent(value.estimate), y=y, hue=hue)]
    if math.isfinite(value.low) and math.isfinite(value.high):
        marks.insert(0, Mark("span", scale.percent(value.low), scale.percent(value.high), y, hue))
    return marks


def _dots(name: str, values: list[float], mean: float, scale: Axis, hue: str) -> Row:
    """A dot a seed, spread over the track's height so that equal values stay apart."""
    finite = [value for value in values if math.isfinite(value)]
    marks = [
        Mark("seed", scale.percent(value), y=round(20 + 60 * ((0.5 + i * 0.618) % 1), 1), hue=hue)
        for i, value in enumerate(finite)
    ]
    if not finite:
        return Row(name, "undefined", [], f"{name}: undefined")
    marks.append(Mark("line", scale.percent(mean), hue=f"mean {hue}"))
    of = "" if len(finite) == len(values) else f" of {len(values)}"
    span = f"from {numbers.number(min(finite))} to {numbers.number(max(finite))}"
    alt = f"{name}: {len(finite)}{of} seeds, {numbers.number(mean)} over all, {span}"
    return Row(name, numbers.number(mean), marks, alt, height=36)


def _over_all(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan


def _seed_means(values: np.ndarray) -> list[float]:
    return [_over_all(each) for each in values]


def _ticks(scale: Axis) -> list[tuple[float, str]]:
    return [(scale.percent(tick), numbers.tick(tick)) for tick in scale.ticks]


def _said(value: Interval) -> str:
    if not math.isfinite(value.estimate):
        return "undefined"
    low, high = numbers.number(value.low), numbers.number(value.high)
    return f"{numbers.number(value.estimate)}, {100 * value.level:g} % interval {low} to {high}"
