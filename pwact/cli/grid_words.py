"""What `pwact train --vary` prints."""

from __future__ import annotations

import pathlib
from typing import Any

import pandas as pd

from pwact.cli.common import console

AT_MOST = 40
"""Rows of a table that are printed; all stand in the files."""


def tell(found: Any, folder: pathlib.Path) -> None:
    """Print what a grid came to."""
    factors = [factor.name for factor in found.factors]
    summary, split = found.summary, {"test": "held-out", "train": "training"}[found.split]
    table = summary[factors].astype(str)
    table[f"{split} accuracy"] = summary.accuracy.map("{:.2%}".format)
    if len(found.seeds) > 1:
        table["95 % interval"] = [
            _range(*ends, "{:.2%}") for ends in zip(summary.low, summary.high, strict=True)
        ]
    table["loss"] = summary.loss.map("{:.4f}".format)
    table["parameters"] = summary.parameters.map("{:,}".format)
    _print(table)
    _tell_differences(found, split)
    console.print(
        f"Saved: {folder} (results.csv, results.nc, differences.csv, figure.svg, and a folder a cell: "
        f"pwact stats '{folder}/{summary.cell.iloc[0]}' moments)",
        markup=False,
    )


def _tell_differences(found: Any, split: str) -> None:
    frame = found.differences
    if frame.empty:
        return
    frame = frame[(frame.split == found.split) & (frame.measure == "accuracy")]
    pooled = frame[frame.others == "pooled"]
    shown = pd.concat([pooled, frame[~frame.factor.isin(pooled.factor)]], ignore_index=True)
    table = pd.DataFrame(
        {"difference": shown.factor + ": " + shown.level.astype(str) + " - " + shown.reference.astype(str)}
    )
    table[f"{split} accuracy"] = shown.difference.map("{:+.2%}".format)
    count = int(shown.comparisons.max())
    if len(found.seeds) > 1:
        table["95 % interval"] = [
            _range(*ends, "{:+.2%}") for ends in zip(shown.low, shown.high, strict=True)
        ]
        if count > 1:
            table["all at once"] = [
                _range(*ends, "{:+.2%}") for ends in zip(shown.low_joint, shown.high_joint, strict=True)
            ]
    console.print()
    _print(table)
    others = " and averaged over the other factors" if len(pooled) else ""
    seeds = len(found.seeds)
    if seeds < 2:
        console.print("Paired by seed" + others + "; one seed gives no interval.", markup=False)
        return
    joint = (
        f" Of {count} comparisons; 'all at once' is Bonferroni's correction for them." if count > 1 else ""
    )
    console.print(
        f"Paired by seed{others}; t intervals over {seeds} seeds, on these same images.{joint}", markup=False
    )


def _range(low: float, high: float, form: str) -> str:
    return f"{form.format(low)} to {form.format(high)}"


def _print(table: pd.DataFrame) -> None:
    cut = table.head(AT_MOST)
    widths = [max(len(str(name)), *map(len, cut[name])) for name in cut]
    for row in [list(cut.columns), *cut.values.tolist()]:
        console.print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip(),
            markup=False,
        )
    if len(table) > AT_MOST:
        console.print(f"... and {len(table) - AT_MOST} more rows in the folder.", markup=False)
