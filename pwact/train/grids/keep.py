"""Finished cells: in a folder each, or in memory where there is no folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pwact.core.results import save_results
from pwact.errors import PwactError
from pwact.records import write_text
from pwact.train.checkpoint import RECORD, load_checkpoint, save_checkpoint
from pwact.train.grids.cells import Cell
from pwact.train.grids.record import TRAINING, tidy
from pwact.train.metrics import NAME as METRICS
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention

SCORES = "scores.json"


class Shelf:
    """Where the networks of finished cells stand, with their scores.

    A cell's folder is a checkpoint that appears whole, under its own name, when the cell is finished.

    Args:
        folder: of the grid; None keeps everything in memory.
        interventions: that were in place in training.
    """

    def __init__(self, folder: Path | None, interventions: tuple[Intervention, ...]):
        self.folder, self.interventions = folder, interventions
        self.held: dict[str, tuple[Trained, xr.Dataset]] = {}

    def has(self, cell: Cell) -> bool:
        """Whether the cell is finished."""
        if self.folder is None:
            return cell.name in self.held
        return (self.folder / cell.name / RECORD).is_file()

    def check(self, cells: Sequence[Cell]) -> None:
        """Refuse a folder in which something else stands in the place of a cell."""
        if self.folder is None:
            return
        for cell in cells:
            if (self.folder / cell.name).exists() and not self.has(cell):
                raise PwactError(
                    f"a finished cell at {str(self.folder / cell.name)!r}, or nothing",
                    f"no {RECORD} in it",
                    "take it away, and make the same call again to train that cell",
                )

    def workplace(self, group: Sequence[Cell]) -> Path | None:
        """Where a group is saved while it trains."""
        if self.folder is None:
            return None
        name = hashlib.sha256(",".join(cell.name for cell in group).encode()).hexdigest()[:16]
        (self.folder / TRAINING).mkdir(exist_ok=True)
        return self.folder / TRAINING / name

    def put(self, cell: Cell, trained: Trained, scores: xr.Dataset, workplace: Path | None) -> None:
        """Keep a cell that is finished; `workplace` is given if it holds this cell and nothing else."""
        if self.folder is None:
            self.held[cell.name] = trained, scores
            return
        if workplace is not None:
            tidy(workplace, [RECORD, METRICS])
            os.rename(workplace, self.folder / cell.name)
        else:
            save_checkpoint(self.folder / cell.name, trained)
        self.note(cell, scores)

    def note(self, cell: Cell, scores: xr.Dataset) -> None:
        """Write a cell's scores beside its networks."""
        assert self.folder is not None
        found = {
            "split": scores.split.values.tolist(),
            "seed": scores.seed.values.tolist(),
            "loss": scores.loss.transpose("split", "seed").values.tolist(),
            "accuracy": scores.accuracy.transpose("split", "seed").values.tolist(),
            "diverged": scores.diverged.values.tolist(),
        }
        write_text(json.dumps(found) + "\n", self.folder / cell.name / SCORES)

    def trained(self, cell: Cell) -> Trained:
        """The networks of a finished cell."""
        if self.folder is None:
            return self.held[cell.name][0]
        return load_checkpoint(
            self.folder / cell.name,
            config=cell.draft.config,
            recipe=cell.draft.recipe,
            interventions=self.interventions,
        )

    def scores(self, cell: Cell) -> xr.Dataset | None:
        """The scores of a finished cell; None where they were not written."""
        if self.folder is None:
            return self.held[cell.name][1]
        try:
            found = json.loads((self.folder / cell.name / SCORES).read_text())
            values: dict[str, Any] = {
                name: (("split", "seed"), np.array(found[name], float)) for name in ("loss", "accuracy")
            }
            values["diverged"] = ("seed", np.array(found["diverged"], int))
            return xr.Dataset(values, {"split": found["split"], "seed": found["seed"]})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, **tables: pd.DataFrame) -> None:
        """Each table as NAME.csv."""
        if self.folder is not None:
            for name, table in tables.items():
                write_text(table.to_csv(index=False), self.folder / f"{name}.csv")

    def write_arrays(self, arrays: xr.Dataset) -> None:
        """The arrays as results.nc."""
        if self.folder is not None:
            save_results(xr.DataTree(arrays), self.folder / "results.nc", overwrite=True)

    def close(self) -> None:
        """Take away where groups trained, when none is left to train."""
        if self.folder is not None and (self.folder / TRAINING).exists():
            shutil.rmtree(self.folder / TRAINING)


def forget(workplace: Path | None) -> None:
    """Take away what a group saved while it trained."""
    if workplace is not None and workplace.exists():
        shutil.rmtree(workplace)
