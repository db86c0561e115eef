"""Many configurations that differ in named factors: trained, compared and kept."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.architecture import to_dict
from pwact.train.evaluate import check_fit, evaluate
from pwact.train.grids import record
from pwact.train.grids.cells import Cell, cells_of
from pwact.train.grids.differences import differences_of
from pwact.train.grids.draft import Draft
from pwact.train.grids.factors import Factor, Mode, factors_of
from pwact.train.grids.fit import Job, fit, groups_of
from pwact.train.grids.keep import Shelf, forget
from pwact.train.grids.tables import curves_of, results_of, summary_of
from pwact.train.grids.values import shown
from pwact.train.order import check_devices
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Treatment, check_seeds, check_streams, check_treatment


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """The networks of a grid and what they came to.

    Args:
        factors: what varied.
        cells: one combination of levels each.
        seeds: one network each, in every cell.
        mode: `grid` or `one_at_a_time`.
        results: one row a network and split (`results.csv`).
        arrays: curves and final scores by factor (`results.nc`).
        differences: each level against its factor's first, paired by seed (`differences.csv`).
        shelf: where the networks are.
    """

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    mode: Mode
    results: pd.DataFrame
    arrays: xr.Dataset
    differences: pd.DataFrame
    shelf: Shelf

    def __repr__(self) -> str:
        factors = ", ".join(f"{factor.name} ({len(factor.levels)})" for factor in self.factors)
        return f"{len(self.cells)} cells of {len(self.seeds)} networks: {factors}"

    def at(self, **levels: Any) -> Trained:
        """The networks of one cell.

        Args:
            levels: one of each factor, as tables show them.

        Raises:
            PwactError: no cell has these levels.
        """
        for cell in self.cells:
            if cell.labels == levels:
                return self.shelf.trained(cell)
        some = "; ".join(cell.name for cell in self.cells[:6]) + ("; ..." if len(self.cells) > 6 else "")
        raise PwactError(f"the levels of a cell: {some}", f"{levels}", "see Grid.summary")

    @property
    def split(self) -> str:
        """What networks are compared on: `test`, or `train` where there is no test set."""
        return "test" if "test" in set(self.results.split) else "train"

    @property
    def diverged(self) -> list[str]:
        """The networks whose loss stopped being finite, and when."""
        found = self.results[(self.results.split == self.split) & self.results.diverged.notna()]
        return [f"{row.cell} seed {row.seed} at step {row.diverged}" for row in found.itertuples()]

    @property
    def summary(self) -> pd.DataFrame:
        """One row a cell: mean accuracy over seeds and its 95 % interval, loss, parameters."""
        return summary_of(self.results, [factor.name for factor in self.factors], self.split)


def grid(
    config: Any,
    recipe: Recipe,
    dataset: Dataset,
    *,
    vary: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    mode: Mode = "grid",
    hold: Mapping[str, int] | None = None,
    test: Dataset | None = None,
    preprocess: Preprocess | None = None,
    treatment: Treatment = "trained",
    interventions: Sequence[Intervention] = (),
    folder: str | os.PathLike[str] | None = None,
    devices: int = 1,
    workers: int | None = None,
    command: str = "",
    progress: Callable[[float, str], None] | None = None,
) -> Grid:
    """Train networks that differ in named factors and in nothing else.

    A factor is a field of the architecture or of the recipe; `width` (channels of the first block, the others
    in proportion) or `depth` (number of blocks); `images` (how many of the training images) or `corruption`
    (of training and held-out images, e.g. "fog(severity=3)"); or a stream of randomness, whose levels are the
    seeds that it is held at: `initialisation`, `order`, `augmentation`, `dropout`, `labels`.

    Args:
        config: the architecture that is varied.
        recipe: how it is trained.
        dataset: the training images.
        vary: levels by factor, as values or as the text that a person would write.
        seeds: one network each, in every cell; they pair the cells.
        mode: `grid` trains every combination of levels; `one_at_a_time` the base, and the base with one
            factor at each other level.
        hold: seeds that streams are held at in every network, by name; the others follow the network's seed.
        test: held-out images; without them networks are compared on the training images.
        preprocess: the same for all; standardises by `dataset` if not given.
        treatment: as `train` takes it.
        interventions: as `train` takes them.
        folder: where everything is kept. The same call again goes on in it, to the same bits.
        devices: as `train` takes them.
        workers: as `train` takes them.
        command: that repeats this grid, for its record.
        progress: called with (share done, a sentence).

    Returns:
        The networks, tables and arrays. A network whose loss was NaN or infinite stops there, and the others
        go on: `Grid.diverged` names it, and it has no score.

    Raises:
        PwactError: before anything is trained: a factor or level that does not exist, is ambiguous, comes
            twice, has the name of another or makes no network for this dataset; an intervention at a site
            that a cell does not have; a folder of another grid, in use, or with a cell that is no checkpoint.
        KeyboardInterrupt: on Ctrl-C; its message says what is kept.

    Example:
        >>> import pwact
        >>> from pwact.train import QUICK
        >>> parts = pwact.data.split(pwact.data.bag(size=100), seed=0)
        >>> config = pwact.models.ModelConfig((24, 24, 1), 3, widths=(4,), strides=(4,), norm="none")
        >>> found = grid(
        ...     config,
        ...     QUICK,
        ...     parts["train"],
        ...     vary={"width": [2, 4]},
        ...     seeds=range(2),
        ...     treatment="untrained",
        ... )
        >>> found.results[["width", "seed", "parameters"]].values.tolist()
        [[2, 0, 61], [2, 1, 61], [4, 0, 119], [4, 1, 119]]
    """
    seeds = check_seeds(seeds)
    check_treatment(treatment)
    base = Draft(config, recipe, check_streams(hold or {}), len(dataset))
    factors = factors_of(vary, base, mode)
    cells = cells_of(factors, base, dataset, mode, tuple(interventions))
    for cell in cells:
        check_devices(cell.draft.recipe, devices)
    for part in () if test is None else (test,):
        check_fit(cells[0].draft.config, part)
    preprocess = Preprocess.standardise(dataset) if preprocess is None else preprocess
    job = Job(seeds, dataset, test, preprocess, treatment, tuple(interventions), devices, workers, command)
    place = None if folder is None else Path(folder)
    with ExitStack() as stack:
        found = (
            None
            if place is None
            else stack.enter_context(record.opened(place, _asked(job, base, factors, cells, mode), command))
        )
        shelf = Shelf(place, job.interventions)
        shelf.check(cells)
        _train(cells, job, shelf, found, progress)
        done = _tables(factors, cells, job, mode, shelf)
        if found is not None and place is not None:
            shelf.close()
            record.finish(place, found)
    return done


def _train(
    cells: Sequence[Cell],
    job: Job,
    shelf: Shelf,
    found: dict[str, Any] | None,
    progress: Callable[[float, str], None] | None,
) -> None:
    """Train what is not finished."""
    groups = groups_of(cells)
    sizes = [len(group) * max(group[0].draft.recipe.epochs, 1) for group in groups]
    for number, group in enumerate(groups):
        workplace = shelf.workplace(group)
        before, name = sum(sizes[:number]), group[0].name
        name += f" and {len(group) - 1} more" if len(group) > 1 else ""
        if all(shelf.has(cell) for cell in group):
            forget(workplace)
            continue
        if found is not None and shelf.folder is not None:
            record.check_made_here(found, shelf.folder)

        def tell(
            done: int,
            total: int,
            sentence: str,
            before: int = before,
            name: str = name,
            size: int = sizes[number],
        ) -> None:
            if progress is not None:
                progress((before + size * done / max(total, 1)) / sum(sizes), f"{name}: {sentence}")

        try:
            networks = fit(group, job, workplace, tell)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(cells, shelf)) from None
        for cell, trained in zip(group, networks, strict=True):
            if not shelf.has(cell):
                shelf.put(cell, trained, _scores(trained, job, cell), workplace if len(group) == 1 else None)
        forget(workplace)


def _scores(trained: Trained, job: Job, cell: Cell) -> xr.Dataset:
    """Loss and accuracy (split, seed) in evaluation mode; on training images for the labels trained on."""
    dataset, test = job.data(cell)
    parts = {"train": evaluate(trained, dataset, labels=trained.labels)}
    if test is not None:
        parts["test"] = evaluate(trained, test)
    scores = xr.concat(list(parts.values()), pd.Index(list(parts), name="split"))
    diverged = np.array([step or 0 for step in trained.diverged], np.int64)
    scores = scores.where(xr.DataArray(diverged == 0, dims="seed"))
    return scores.assign(diverged=("seed", diverged))


def _tables(factors: tuple[Factor, ...], cells: tuple[Cell, ...], job: Job, mode: Mode, shelf: Shelf) -> Grid:
    """Everything that is made of the finished cells, written where there is a folder."""
    scores, curves, seconds = {}, {}, []
    for cell in cells:
        trained = shelf.trained(cell)
        found = shelf.scores(cell)
        if found is None:
            shelf.note(cell, found := _scores(trained, job, cell))
        scores[cell.name], curves[cell.name] = found, trained.curves
        seconds.append({"cell": cell.name, "seconds": trained.seconds})
    results = results_of(cells, job.seeds, scores)
    arrays = curves_of(factors, cells, job.seeds, mode, curves, scores)
    differences = differences_of(factors, cells, results)
    shelf.write(results=results, differences=differences, seconds=pd.DataFrame(seconds))
    shelf.write_arrays(arrays)
    return Grid(factors, cells, job.seeds, mode, results, arrays, differences, shelf)


def _asked(
    job: Job, base: Draft, factors: Sequence[Factor], cells: Sequence[Cell], mode: Mode
) -> dict[str, Any]:
    """What decides the networks of a grid, as JSON holds it."""

    def named(dataset: Dataset | None) -> dict[str, str] | None:
        if dataset is None:
            return None
        return {"name": dataset.name, "fingerprint": dataset.fingerprint, "index_hash": dataset.index_hash}

    return {
        "architecture": to_dict(base.config),
        "recipe": base.recipe.to_dict(),
        "hold": dict(base.streams),
        "mode": mode,
        "factors": {
            factor.name: {
                "sets": factor.setting.qualified,
                "levels": list(factor.labels),
                "values": [shown(level) for level in factor.levels],
            }
            for factor in factors
        },
        "cells": [cell.name for cell in cells],
        "seeds": list(job.seeds),
        "treatment": job.treatment,
        "interventions": [each.name for each in job.interventions],
        "data": {"train": named(job.dataset), "test": named(job.test)},
        "preprocess": dataclasses.asdict(job.preprocess),
        "devices": job.devices,
    }


def _kept(cells: Sequence[Cell], shelf: Shelf) -> str:
    finished = sum(shelf.has(cell) for cell in cells)
    if shelf.folder is None:
        return "nothing is saved, as no folder was given"
    return (
        f"{finished} of {len(cells)} cells are finished in {str(shelf.folder)!r}, and what the next one has "
        "learnt is kept; make the same call again to go on"
    )
