"""Cells that one program can train together, and their training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.train.grids.cells import Cell
from pwact.train.grids.draft import with_corruption, with_images
from pwact.train.loop import train
from pwact.train.recipe import NUMBERS
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Member, Treatment


@dataclasses.dataclass(frozen=True)
class Job:
    """What all cells have in common.

    Args:
        seeds: one network each, in every cell.
        dataset: the training images.
        test: held-out images.
        preprocess: the same in every cell.
        treatment: of `train`.
        interventions: of `train`.
        devices: of `train`.
        workers: of `train`.
        command: that repeats the grid.
    """

    seeds: tuple[int, ...]
    dataset: Dataset
    test: Dataset | None
    preprocess: Preprocess
    treatment: Treatment
    interventions: tuple[Intervention, ...]
    devices: int
    workers: int | None
    command: str

    def data(self, cell: Cell) -> tuple[Dataset, Dataset | None]:
        """The training and held-out images of a cell."""
        draft = cell.draft
        test = None if self.test is None else with_corruption(self.test, draft.corruption)
        return with_corruption(with_images(self.dataset, draft.images), draft.corruption), test


def groups_of(cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Cells whose networks one program trains: alike but for the recipe's numbers and held streams."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        draft = cell.draft
        key = (draft.config, draft.recipe.structure(), draft.images, draft.corruption)
        groups.setdefault(key, []).append(cell)
    return [tuple(group) for group in groups.values()]


def fit(
    group: Sequence[Cell], job: Job, folder: Path | None, progress: Callable[[int, int, str], None]
) -> list[Trained]:
    """Train a group, or go on with it.

    Args:
        group: the cells.
        job: what they have in common with all others.
        folder: where the group is saved as it goes.
        progress: called with (steps done, steps in all, a sentence).

    Returns:
        The networks of each cell; those whose loss was not finite are named in `Trained.diverged`.
    """
    dataset, test = job.data(group[0])
    draft, count = group[0].draft, len(job.seeds)
    trained = train(
        draft.config,
        dataset,
        seeds=_members(group, job),
        recipe=draft.recipe,
        test=test,
        preprocess=job.preprocess,
        treatment=job.treatment,
        interventions=job.interventions,
        folder=folder,
        resume=True,
        devices=job.devices,
        workers=job.workers,
        keep_diverged=True,
        command=job.command,
        progress=progress,
    )
    return [trained.take(range(at, at + count)) for at in range(0, len(trained), count)]


def _members(group: Sequence[Cell], job: Job) -> list[Member]:
    """The networks of a group, a cell's after another's, each with all seeds."""
    members = []
    for cell in group:
        own = {name: getattr(cell.draft.recipe, name) for name in NUMBERS} if len(group) > 1 else {}
        members += [Member(seed, dict(cell.draft.streams), own) for seed in job.seeds]
    return members
