"""The figure of a grid: accuracy at each level of each factor, one point a seed, joined within seeds."""

from __future__ import annotations

import io
import json
import math
import os
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from pwact.errors import PwactError

HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Told apart whatever one's colour vision (Okabe and Ito)."""

STYLE: Any = {
    "svg.hashsalt": "pwact",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def draw_grid(folder: str | os.PathLike[str]) -> list[Path]:
    """Draw the figure of a grid again, from its record and table.

    A panel a factor. A thin line joins what one seed came to at each level; a thick one the means over seeds,
    with Student's 95 % interval. The other factors' levels are told apart by colour where they are few, else
    a seed's accuracy is averaged over them.

    Args:
        folder: of a finished grid: its `grid.json` and `results.csv`.

    Returns:
        The files written, `figure.svg` and `figure.png`: the same bytes for the same table.

    Raises:
        PwactError: no grid, or a file that cannot be written.
    """
    folder = Path(folder)
    try:
        asked = json.loads((folder / "grid.json").read_text(encoding="utf-8"))["asked"]
        factors = {name: [str(label) for label in each["levels"]] for name, each in asked["factors"].items()}
        table = pd.read_csv(
            folder / "results.csv",
            dtype=dict.fromkeys(factors, str),
            keep_default_na=False,
            na_values={"accuracy": [""], "loss": [""], "diverged": [""]},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PwactError(
            f"a finished grid in {str(folder)!r}", str(error), "give the folder of a grid"
        ) from error
    with matplotlib.rc_context(STYLE):
        figure = _figure(table, factors, asked)
        contents = {}
        for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 150})):
            file = io.BytesIO()
            figure.savefig(file, format=kind, bbox_inches="tight", **options)
            contents[f"figure.{kind}"] = file.getvalue()
    return [_write(folder / name, content) for name, content in contents.items()]


def _figure(table: pd.DataFrame, factors: dict[str, list[str]], asked: dict[str, Any]) -> Figure:
    split = "test" if "test" in set(table.split) else "train"
    table = table[table.split == split]
    widths = [
        max(2.6, (1.25 if max(map(len, levels)) > 9 else 0.75) * len(levels) + 0.9)
        for levels in factors.values()
    ]
    figure = Figure(figsize=(sum(widths) + 0.6, 4.0), layout="constrained")
    panels = figure.subplots(1, len(factors), sharey=True, squeeze=False, width_ratios=widths)[0]
    for panel, (name, levels) in zip(panels, factors.items(), strict=True):
        _panel(panel, table, name, factors, asked["mode"])
        panel.set_title(name)
        panel.set_xticks(range(len(levels)), ["\n".join(textwrap.wrap(level, 18)) for level in levels])
        panel.set_xlim(-0.5, len(levels) - 0.5)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        if any(len(level) > 7 for level in levels):
            panel.tick_params(axis="x", labelsize=7)
    panels[0].yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    panels[0].set_ylim(*_range(table.accuracy))
    panels[0].set_ylabel("held-out accuracy" if split == "test" else "training accuracy")
    seeds = len(asked["seeds"])
    many = (
        f"{seeds} seeds, one a thin line; thick: their mean and its 95 % interval"
        if seeds > 1
        else "one seed"
    )
    figure.supxlabel(f"{asked['data'][split]['name']}, {many}", fontsize=8, color="#555555")
    return figure


def _panel(panel: Axes, table: pd.DataFrame, name: str, factors: dict[str, list[str]], mode: str) -> None:
    """One factor: a colour for each combination of the others' levels, or for their average."""
    levels, others = factors[name], [other for other in factors if other != name]
    if mode == "one_at_a_time":
        for other in others:
            table = table[table[other] == factors[other][0]]
    combined = table[others].agg(", ".join, axis=1) if others else pd.Series("", table.index)
    groups = [combined[combined == text].index for text in dict.fromkeys(combined)]
    apart = 1 < len(groups) <= len(HUES)
    if not apart and len(groups) > 1:
        panel.text(
            0.02, 0.98, f"averaged over {', '.join(others)}", transform=panel.transAxes, va="top", size=7
        )
        groups = [table.index]
    for number, group in enumerate(groups):
        part, hue = table.loc[group], HUES[number % len(HUES)]
        found = part.groupby([name, "seed"]).accuracy.mean().unstack("seed").reindex(levels)
        at = np.arange(len(levels)) + 0.36 * ((number + 0.5) / len(groups) - 0.5)
        values = found.to_numpy(float)
        panel.plot(at, values, color=hue, linewidth=0.7, alpha=0.4)
        panel.plot(at, values, "o", color=hue, markersize=3.6, alpha=0.6, markeredgewidth=0)
        _means(panel, at, values, hue, combined[group[0]] if apart else "")
    if apart:
        below: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}
        panel.legend(title=", ".join(others), title_fontsize=8, handlelength=1.2, columnspacing=1.0, **below)


def _means(panel: Axes, at: np.ndarray, values: np.ndarray, hue: str, label: str) -> None:
    """Mean over seeds and its interval [level], where no seed diverged."""
    count = values.shape[1]
    reach = stats.t.ppf(0.975, count - 1) * values.std(1, ddof=1) / math.sqrt(count) if count > 1 else None
    mean = values.mean(1)
    if reach is not None:
        reach = np.abs(np.clip([mean - reach, mean + reach], 0, 1) - mean)
    panel.errorbar(
        at, mean, reach, color=hue, marker="D", markersize=4.5, linewidth=1.5, capsize=3, label=label
    )


def _range(accuracy: pd.Series) -> tuple[float, float]:
    """An axis around the points; an interval of few seeds may leave it."""
    low, high = accuracy.min(), accuracy.max()
    if math.isnan(low):
        return 0.0, 1.0
    room = max(0.15 * (high - low), 0.005)
    return low - room, high + room


def _write(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise PwactError(f"to write {path}", error.strerror or str(error), "make room there") from error
    return path
