"""Datasets whose images stay where they are stored and are read when they are asked for."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Num

from pwact.core.provenance import index_hash
from pwact.data.dataset import check_indices
from pwact.errors import NonFiniteError
from pwact.types import Batch


@runtime_checkable
class Store(Protocol):
    """Where images lie: what a source of a `StoredDataset` writes, and all that it writes.

    `pixels` says the dtype of what `read` gives: uint8, or float32 (`StoredDataset` refuses what is not
    finite). `labels` and `fingerprint` may take a pass over the data; each is asked for once.
    """

    @property
    def pixels(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def labels(self) -> Int[np.ndarray, " image"]: ...

    def fingerprint(self) -> str: ...

    def read(self, at: Int[np.ndarray, " batch"]) -> Num[np.ndarray, "batch row column channel"]: ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StoredDataset:
    """A dataset that is never in memory as a whole. Made by the sources `folder`, `npy` and `tfds`.

    Args:
        store: reads images.
        image_shape: (row, column, channel).
        num_classes: number of classes.
        name: for tables and provenance.
        class_names: one a class, where the source has names; else none.

    Example:
        >>> import pathlib, tempfile, numpy as np, pwact
        >>> home = pathlib.Path(tempfile.mkdtemp())
        >>> np.save(home / "images.npy", np.zeros((6, 8, 8, 1), np.uint8))
        >>> np.save(home / "labels.npy", np.array([0, 1, 2, 0, 1, 2]))
        >>> pwact.data.npy(home, name="blank")
        blank: 6 images 8x8x1 uint8, 3 classes
    """

    store: Store
    image_shape: tuple[int, int, int]
    num_classes: int
    name: str
    class_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return f"{self.name}: {len(self):,} images {shape} {self.store.pixels}, {self.num_classes} classes"

    def __len__(self) -> int:
        return len(self.store)

    @functools.cached_property
    def labels(self) -> Int[np.ndarray, " image"]:
        return self.store.labels()

    @functools.cached_property
    def fingerprint(self) -> str:
        return self.store.fingerprint()

    @functools.cached_property
    def index_hash(self) -> str:
        return index_hash(np.arange(len(self)))

    def read(self, indices: Any) -> Batch:
        """The images at `indices`, as NumPy arrays of a `Batch`.

        Raises:
            PwactError: an index lies outside the dataset, or an image cannot be read.
            NonFiniteError: a pixel is NaN or infinite.
        """
        at = check_indices(indices, len(self))
        if len(at):
            images = self.store.read(at)
        else:
            images = np.zeros((0, *self.image_shape), self.store.pixels)
        if images.dtype != np.uint8:
            _check_finite(images, at)
        return Batch(images, self.labels[at], at, np.ones(len(at), bool))  # type: ignore[arg-type]


def _check_finite(images: np.ndarray, at: np.ndarray) -> None:
    bad = ~np.isfinite(images).all((1, 2, 3))
    if bad.any():
        raise NonFiniteError(
            "finite pixels",
            f"a NaN or an infinity in image {at[bad][0]} ({bad.sum()} such images in this batch)",
            "repair or drop these images",
        )
