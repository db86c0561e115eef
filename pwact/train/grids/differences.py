"""What a level changes: differences within seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from pwact.train.grids.cells import Cell
from pwact.train.grids.factors import Factor

POOLED = "pooled"


def differences_of(
    factors: Sequence[Factor], cells: Sequence[Cell], results: pd.DataFrame, *, level: float = 0.95
) -> pd.DataFrame:
    """Each level of each factor against the factor's first level, paired by seed.

    For a seed s and levels o of the other factors, d(s, o) = m(s, o, level) - m(s, o, first level). Within
    equal other levels the interval is Student's over seeds, mean ± t(1 - α/2, n - 1) sd / sqrt(n), with
    α = 1 - level. Pooled, d is first averaged over all o for each seed, so that n still counts seeds.

    `low_joint` and `high_joint` hold for all `comparisons` of the same split, measure and kind (pooled or
    within) at once: Bonferroni's α / comparisons in place of α. `low` and `high` are not corrected.

    Args:
        factors: of the grid.
        cells: of the grid.
        results: `results_of`; where a network diverged, so do the differences that it takes part in: NaN.
        level: of the intervals. They speak of new seeds, on the same images and at these levels.

    Returns:
        Columns `factor`, `level`, `reference`, `others` (the levels of the other factors, or `pooled`),
        `split`, `measure`, `n`, `difference`, `low`, `high`, `low_joint`, `high_joint`, `comparisons`. With
        one seed intervals are NaN.
    """
    rows: list[dict[str, Any]] = []
    by_place = {cell.places: cell for cell in cells}
    for split in results.split.unique():
        found = results[results.split == split]
        for measure in ("accuracy", "loss"):
            table = {
                name: part.set_index("seed")[measure] for name, part in found.groupby("cell", sort=False)
            }
            for at, factor in enumerate(factors):
                for place in range(1, len(factor.levels)):
                    rows += _compared(factors, at, place, by_place, table, split, measure)
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame["low"], frame["high"] = _ends(frame, 1 - level)
    alike = frame.groupby(["split", "measure", frame.others == POOLED]).factor
    frame["comparisons"] = alike.transform("size")
    frame["low_joint"], frame["high_joint"] = _ends(frame, (1 - level) / frame.comparisons)
    order = ["factor", "level", "reference", "others", "split", "measure", "n", "difference"]
    return frame[[*order, "low", "high", "low_joint", "high_joint", "comparisons"]]


def _compared(
    factors: Sequence[Factor],
    at: int,
    place: int,
    by_place: dict[tuple[int, ...], Cell],
    table: dict[str, pd.Series],
    split: str,
    measure: str,
) -> list[dict[str, Any]]:
    """One level against the first, within equal other levels and pooled over them."""
    factor = factors[at]
    paired, rows = [], []
    for places, cell in by_place.items():
        if places[at] != place:
            continue
        first = by_place[(*places[:at], 0, *places[at + 1 :])]
        difference = table[cell.name] - table[first.name]
        paired.append(difference)
        others = {name: label for name, label in cell.labels.items() if name != factor.name}
        rows.append((", ".join(f"{name}={label}" for name, label in others.items()), difference))
    if len(paired) > 1:
        rows.insert(0, (POOLED, sum(paired) / len(paired)))
    return [
        {
            "factor": factor.name,
            "level": factor.labels[place],
            "reference": factor.labels[0],
            "others": others,
            "split": split,
            "measure": measure,
            "n": len(difference),
            "difference": difference.mean(skipna=False),
            "error": difference.std(ddof=1, skipna=False) / np.sqrt(len(difference)),
        }
        for others, difference in rows
    ]


def _ends(frame: pd.DataFrame, alpha: Any) -> tuple[pd.Series, pd.Series]:
    reach = scipy.stats.t.ppf(1 - alpha / 2, frame.n - 1) * frame.error
    return frame.difference - reach, frame.difference + reach
