"""What a grid leaves for other tools: one tidy table, one xarray dataset, and a summary to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pwact.models import parameters
from pwact.train.evaluate import t_interval
from pwact.train.grids.cells import Cell
from pwact.train.grids.factors import Factor, Mode

MEASURES = ("loss", "accuracy")


def results_of(cells: Sequence[Cell], seeds: Sequence[int], scores: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """One row a network and split: cell, factors, seed, split, loss, accuracy, parameters, diverged.

    `diverged` is the step at which a network's loss stopped being finite, whose loss and accuracy are NaN; it
    is empty elsewhere.

    Args:
        cells: in the order of the rows.
        seeds: of every cell.
        scores: by cell, `loss` and `accuracy` (split, seed) and `diverged` (seed), 0 for those that did not.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        found, size = scores[cell.name], parameters(cell.draft.config)
        for split in found.split.values:
            for seed in seeds:
                at = found.sel(split=split, seed=seed)
                rows.append(
                    {
                        "cell": cell.name,
                        **cell.labels,
                        "seed": seed,
                        "split": str(split),
                        "loss": float(at.loss),
                        "accuracy": float(at.accuracy),
                        "parameters": size,
                        "diverged": int(at.diverged) or None,
                    }
                )
    return pd.DataFrame(rows).astype({"diverged": "Int64"})


def curves_of(
    factors: Sequence[Factor],
    cells: Sequence[Cell],
    seeds: Sequence[int],
    mode: Mode,
    curves: Mapping[str, xr.Dataset],
    scores: Mapping[str, xr.Dataset],
) -> xr.Dataset:
    """Curves and final scores of all networks as arrays.

    Args:
        factors: of the grid; each is a dimension, with its labels as coordinate. One at a time there is a
            dimension `cell` instead, and each factor's level stands along it.
        cells: of the grid.
        seeds: of every cell.
        mode: of the grid.
        curves: by cell, `loss` and `accuracy` (split, seed, epoch).
        scores: by cell, `loss` and `accuracy` (split, seed), of the trained networks in evaluation mode.

    Returns:
        `loss`, `accuracy` (factors or cell, seed, split, epoch), `final_loss`, `final_accuracy` (..., seed,
        split), `parameters` (...). NaN after a cell's last epoch.
    """
    whole = mode == "grid"
    outer = [factor.name for factor in factors] if whole else ["cell"]
    shape = [len(factor.levels) for factor in factors] if whole else [len(cells)]
    splits = list(curves[cells[0].name].split.values)
    epochs = max(each.sizes["epoch"] for each in curves.values())
    arrays = {
        **{name: np.full((*shape, len(seeds), len(splits), epochs), np.nan) for name in MEASURES},
        **{f"final_{name}": np.full((*shape, len(seeds), len(splits)), np.nan) for name in MEASURES},
        "parameters": np.zeros(shape, np.int64),
    }
    for number, cell in enumerate(cells):
        at: Any = cell.places if whole else (number,)
        arrays["parameters"][at] = parameters(cell.draft.config)
        for name in MEASURES:
            found = curves[cell.name][name].transpose("seed", "split", "epoch").values
            arrays[name][(*at, slice(None), slice(None), slice(found.shape[2]))] = found
            arrays[f"final_{name}"][at] = scores[cell.name][name].transpose("seed", "split").values
    inner = ["seed", "split", "epoch"]
    dims = {name: [*outer, *inner[: array.ndim - len(outer)]] for name, array in arrays.items()}
    coords: dict[str, Any] = {"seed": list(seeds), "split": splits, "epoch": np.arange(1, epochs + 1)}
    if whole:
        coords |= {factor.name: list(factor.labels) for factor in factors}
    else:
        coords["cell"] = [cell.name for cell in cells]
        coords |= {factor.name: ("cell", [cell.labels[factor.name] for cell in cells]) for factor in factors}
    return xr.Dataset({name: (dims[name], array) for name, array in arrays.items()}, coords)


def summary_of(
    results: pd.DataFrame, factors: Sequence[str], split: str, level: float = 0.95
) -> pd.DataFrame:
    """One row a cell: mean accuracy over seeds with its t interval (`t_interval`), loss and parameters.

    A cell of which a network diverged has no mean.

    Args:
        results: `results_of`.
        factors: their names.
        split: which rows.
        level: of the interval, which speaks of new seeds on the same images.
    """
    rows = []
    for name, found in results[results.split == split].groupby("cell", sort=False):
        accuracy = found.accuracy.to_numpy(np.float64)
        low, high = t_interval(accuracy, level)
        rows.append(
            {
                "cell": name,
                **{factor: found[factor].iloc[0] for factor in factors},
                "seeds": len(found),
                "accuracy": accuracy.mean(),
                "low": np.maximum(low, 0.0),
                "high": np.minimum(high, 1.0),
                "loss": found.loss.mean(skipna=False),
                "parameters": found.parameters.iloc[0],
            }
        )
    return pd.DataFrame(rows)
