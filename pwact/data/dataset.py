"""What a dataset is, and the one kind that pwact keeps in memory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, Num

from pwact.core.provenance import index_hash
from pwact.errors import PwactError
from pwact.types import Batch

BLOCK = 16 * 2**20


@runtime_checkable
class Dataset(Protocol):
    """Labelled images with random access by index.

    Attributes:
        name: for tables and provenance.
        num_classes: labels are in 0 .. num_classes - 1; a class may hold no image.
        image_shape: (row, column, channel).
        labels: int32, one an image.
        fingerprint: sha256 of the content.
        index_hash: of the places of these images in the whole dataset, in increasing order
            (`pwact.core.provenance.index_hash`); a sweep checks that it saw these and no others.

    A dataset that knows which pixels its classes are about has `has_masks`, and `masks(indices)` that
    gives bools [batch, row, column].
    """

    @property
    def name(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def index_hash(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, indices: Any) -> Batch:
        """The images at `indices`, as NumPy arrays; `Batch.index` is the place in the whole dataset."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ArrayDataset:
    """A dataset in memory. Made by `pwact.data.arrays` and the sources, which check what goes in.

    Args:
        images: uint8 or float32.
        labels: int32.
        num_classes: number of classes.
        name: for tables and provenance.
        object_masks: the pixels that hold what the class is about, where they are known exactly.
        attributes: further labels by name, one an image (`shape_texture` has `shape` and `texture`).

    Example:
        >>> import numpy as np, pwact
        >>> images = np.zeros((6, 8, 8, 1), np.uint8)
        >>> dataset = pwact.data.arrays(images, [0, 1, 2, 0, 1, 2], name="blank")
        >>> dataset
        blank: 6 images 8x8x1 uint8, 3 classes
        >>> dataset.read([4, 5]).label
        array([1, 2], dtype=int32)
    """

    images: Num[np.ndarray, "image row column channel"]
    labels: Int[np.ndarray, " image"]
    num_classes: int
    name: str
    object_masks: Bool[np.ndarray, "image row column"] | None = None
    attributes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return f"{self.name}: {len(self):,} images {shape} {self.images.dtype}, {self.num_classes} classes"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        row, column, channel = self.images.shape[1:]
        return row, column, channel

    @property
    def has_masks(self) -> bool:
        return self.object_masks is not None

    @functools.cached_property
    def fingerprint(self) -> str:
        return content_hash(self.images, self.labels, self.num_classes)

    @functools.cached_property
    def index_hash(self) -> str:
        return index_hash(np.arange(len(self)))

    def read(self, indices: Any) -> Batch:
        """The images at `indices`, as NumPy arrays of a `Batch`.

        Raises:
            PwactError: an index lies outside the dataset.
        """
        at = check_indices(indices, len(self))
        return Batch(self.images[at], self.labels[at], at, np.ones(len(at), bool))  # type: ignore[arg-type]

    def masks(self, indices: Any) -> Bool[np.ndarray, "batch row column"]:
        """Exact object masks of the images at `indices`.

        Raises:
            PwactError: this dataset has no masks, or an index lies outside it.
        """
        if self.object_masks is None:
            raise PwactError(
                "a dataset with object masks",
                f"{self.name!r}, which has none",
                "use a synthetic set: bag, relation or shape_texture",
            )
        return self.object_masks[check_indices(indices, len(self))]


def content_hash(images: np.ndarray, labels: np.ndarray, num_classes: int) -> str:
    """The sha256 of images and labels, block by block: `images` may be larger than memory.

    Images that are not uint8 are hashed as float32, which is what `read` gives of them.
    """
    pixels = np.dtype(np.uint8 if images.dtype == np.uint8 else np.float32)
    digest = hashlib.sha256(f"{pixels}{images.shape}{num_classes}".encode())
    rows = max(1, BLOCK // (pixels.itemsize * math.prod(images.shape[1:])))
    for start in range(0, len(images), rows):
        digest.update(to_pixels(images[start : start + rows]).data)
    digest.update(np.ascontiguousarray(labels, np.int32).data)
    return digest.hexdigest()


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Stored numbers as `Batch.image` has them: uint8 as they are, floating point as float32."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(images, np.uint8 if images.dtype == np.uint8 else np.float32)


def check_indices(indices: Any, size: int) -> Int[np.ndarray, " batch"]:
    """Indices as int32, each of them inside 0 .. size - 1."""
    at = np.asarray(indices)
    if at.ndim != 1 or not (np.issubdtype(at.dtype, np.integer) or at.size == 0):
        raise PwactError(
            "a one-dimensional array of integers as indices", f"{at.dtype}{at.shape}", "pass [i]"
        )
    if at.size and (at.min() < 0 or at.max() >= size):
        raise PwactError(
            f"indices in 0 .. {size - 1}", f"{at.min()} .. {at.max()}", "read only what the dataset holds"
        )
    return at.astype(np.int32)
