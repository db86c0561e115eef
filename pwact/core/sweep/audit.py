"""Which images went by: each of the dataset's once, and no other."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pwact.core.provenance import index_hash
from pwact.errors import PwactError
from pwact.types import Batch


class Audit:
    """The dataset indices of one reading.

    Args:
        index: those of a reading that is gone on with.
    """

    def __init__(self, index: np.ndarray | None = None) -> None:
        self._index = [] if index is None else [index]

    def add(self, batch: Batch) -> None:
        self._index.append(np.asarray(batch.index, np.int32)[np.asarray(batch.valid)])

    @property
    def index(self) -> np.ndarray:
        """The dataset indices so far, in the order they went by."""
        self._index = [np.concatenate([np.zeros(0, np.int32), *self._index])]
        return self._index[0]

    def finish(self, dataset: Any, counted: int) -> str:
        """The sha256 of the dataset indices in the order they went by.

        Args:
            dataset: what was read.
            counted: images that the device counted.

        Raises:
            PwactError: an image more than once, too few or too many, or others than the dataset's own.
        """
        index = self.index
        kinds, times = np.unique(index, return_counts=True)
        if (times > 1).any():
            twice = kinds[times > 1]
            raise PwactError(
                "every image once",
                f"{len(twice)} images more than once, first dataset index {twice[0]}",
                "see that dataset.read gives each position its own index",
            )
        if not len(index) == counted == len(dataset):
            raise PwactError(
                f"{len(dataset)} images, the length of the dataset",
                f"{len(index)} read and {counted} counted on the device",
                "see that dataset.read returns every position it is asked for, all valid",
            )
        if index_hash(kinds) != dataset.index_hash:
            raise PwactError(
                f"the images that '{dataset.name}' says it holds (index_hash {dataset.index_hash[:12]})",
                f"others (index_hash {index_hash(kinds)[:12]})",
                "see that dataset.read returns the images it is asked for, and index_hash is that of their "
                "indices in increasing order, as pwact.core.provenance.index_hash computes it",
            )
        return hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()
