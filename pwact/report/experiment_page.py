"""An experiment's record becomes one HTML file that needs nothing else."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from pwact._version import __version__
from pwact.errors import PwactError
from pwact.experiment_record import Curve, ExperimentRecord, Figure, Judged, read_experiment
from pwact.records import Interval, write_text
from pwact.report import numbers, plots, sheet
from pwact.report.arrays import Series

HUES = 10
BADGES = {
    "holds": "supported",
    "does not hold": "refuted",
    "undecided": "undetermined",
    "not testable here": "inadmissible",
}
"""What a claim's answer looks like."""


def write_experiment_page(
    folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Write the page of a finished experiment.

    The same record gives the same bytes.

    Args:
        folder: what `pwact.experiments.run_experiment` left.
        path: of the page; `report.html` in the folder if not given.
        overwrite: replace a page that exists.

    Returns:
        The page's path.

    Raises:
        PwactError: no record, or a damaged or foreign one; a page that exists or cannot be written.
    """
    path = Path(folder) / "report.html" if path is None else Path(path)
    if path.exists() and not overwrite:
        raise PwactError("no report yet", f"{path}", "ask to overwrite it")
    return write_text(render_experiment(read_experiment(folder)), path)


def render_experiment(record: ExperimentRecord) -> str:
    """The page of an experiment as HTML text.

    Args:
        record: everything that is said and drawn.

    Returns:
        A whole page.
    """
    figures = {figure.name: figure for figure in record.figures}
    drawn = [_series(each) for each in record.curves]
    lines = dict.fromkeys(name for each in drawn for name in each.networks)
    hues = {name: f"n{i % HUES}" for i, name in enumerate(lines)}
    return sheet.render(
        "experiment.html",
        "\n".join(["", sheet.resource("page.css"), ""]),
        version=__version__,
        record=record,
        badges=BADGES,
        criteria=[track(each, figures[each.rule.figure]) for each in record.criteria],
        curves=[
            plots.lines(series, each.x_title, hues.__getitem__)
            for each, series in zip(record.curves, drawn, strict=True)
            if series.networks
        ],
        hues=hues,
        frame={"width": plots.WIDTH, "height": plots.HEIGHT, "left": plots.LEFT, "right": plots.RIGHT}
        | {"top": plots.TOP, "bottom": plots.BOTTOM},
        shown=shown,
    )


def track(judged: Judged, figure: Figure) -> plots.Rows:
    """One criterion: a dot a seed, the mean with its interval, and the range that meets the rule shaded.

    Args:
        judged: the rule and whether it was met.
        figure: what it speaks of.
    """
    rule, interval = judged.rule, judged.interval
    edges = [rule.threshold, *([rule.upper] if math.isfinite(rule.upper) else [])]
    scale = plots.axis([*edges, *figure.values, interval.low, interval.high])
    low = rule.threshold if rule.sign in (">=", ">", "between") else scale.low
    high = rule.upper if rule.sign == "between" else rule.threshold if low == scale.low else scale.high
    marks = [plots.Mark("zone", scale.percent(low), scale.percent(high), hue="support")]
    marks += [plots.Mark("line", scale.percent(edge), hue="support") for edge in edges]
    hue = "met" if judged.met else "unmet"
    if figure.kind != "number":
        marks += [
            plots.Mark("seed", scale.percent(value), y=round(12 + 76 * ((0.1 + i * 0.618) % 1), 1), hue=hue)
            for i, value in enumerate(figure.values)
            if math.isfinite(value)
        ]
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        marks.append(plots.Mark("span", scale.percent(interval.low), scale.percent(interval.high), hue=hue))
    if math.isfinite(interval.estimate):
        marks.append(plots.Mark("dot", scale.percent(interval.estimate), hue=hue))
    words = numbers.pretty_rule(rule.words)
    alt = f"{figure.name}: {shown(interval)}; rule: {words}, {'met' if judged.met else 'not met'}"
    note = f"{words}; {rule.source}" if rule.source else words
    row = plots.Row(figure.name, shown(interval), marks, alt, note=note, met=judged.met, height=32)
    return plots.Rows([("", [row])], [(scale.percent(tick), numbers.tick(tick)) for tick in scale.ticks])


def shown(interval: Interval) -> str:
    """A value with its interval, or alone where it has none.

    Example:
        >>> shown(Interval(0.5, 0.4, 0.6)), shown(Interval(20.0, float("nan"), float("nan")))
        ('0.500 [0.400, 0.600]', '20.0')
    """
    if math.isnan(interval.low) or math.isnan(interval.high):
        return numbers.number(interval.estimate)
    return numbers.interval(interval)


def _series(curve: Curve) -> Series:
    """A curve's lines in one array; one with fewer seeds than others is filled up with NaN."""
    seeds = max((len(line.values) for line in curve.lines), default=0)
    values = np.full((len(curve.lines), seeds, len(curve.x)), np.nan)
    for place, line in enumerate(curve.lines):
        values[place, : len(line.values)] = line.values
    keep = np.isfinite(values).any((1, 2))
    names: list[Any] = [line.name for line, drawn in zip(curve.lines, keep, strict=True) if drawn]
    return Series(curve.title, names, list(curve.x), values[keep])
