"""Reading a dataset once, in fixed loads, while the device computes; every image exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np

from pwact.errors import PwactError
from pwact.types import Batch

Item = TypeVar("Item")


def loads(dataset: Any, batch_size: int) -> Iterator[Batch]:
    """The images in order, `batch_size` at a time; the last load holds what is left.

    Within a load images are sorted by label: a statistic by class then finds few classes in a
    micro-batch.

    Args:
        dataset: anything with `len`, `read(positions)`, `labels`, `image_shape` and `num_classes`.
        batch_size: images, 1 or more.

    Raises:
        PwactError: a read that is not what was asked for.
    """
    labels = np.asarray(dataset.labels)
    for start in range(0, len(dataset), batch_size):
        positions = np.arange(start, min(start + batch_size, len(dataset)))
        positions = positions[np.argsort(labels[positions], kind="stable")]
        batch = jax.tree.map(_own, Batch(*dataset.read(positions)))
        _check(batch, dataset, labels[positions])
        yield batch


def prefetched(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items, each fetched by a thread while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="pwact-load") as pool:
        pending = pool.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, items, None)
            yield item


def in_micro_batches(batch: Batch, size: int, number: int) -> Batch:
    """The load as `number` micro-batches of `size` images, padded with images that are not valid."""

    def pad(array: Any) -> np.ndarray:
        if len(array) == number * size:
            return array.reshape(number, size, *array.shape[1:])
        padded = np.zeros((number * size, *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        return padded.reshape(number, size, *array.shape[1:])

    return jax.tree.map(pad, batch)


class Audit:
    """Which images went by."""

    def __init__(self) -> None:
        self._index: list[np.ndarray] = []

    def add(self, batch: Batch) -> None:
        self._index.append(np.asarray(batch.index, np.int64)[np.asarray(batch.valid)])

    def finish(self, expected: int, counted: int) -> str:
        """The sha256 of the dataset indices in the order they went by.

        Raises:
            PwactError: not `expected` different images, or the device counted another number.
        """
        index = np.concatenate(self._index) if self._index else np.zeros(0, np.int64)
        kinds, times = np.unique(index, return_counts=True)
        if (times > 1).any():
            twice = kinds[times > 1]
            raise PwactError(
                "every image once",
                f"{len(twice)} images more than once, first dataset index {twice[0]}",
                "see that dataset.read gives each position its own index",
            )
        if not len(index) == counted == expected:
            raise PwactError(
                f"{expected} images, the length of the dataset",
                f"{len(index)} read and {counted} counted on the device",
                "see that dataset.read returns every position it is asked for, all valid",
            )
        return hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()


def _own(array: Any) -> np.ndarray:
    """The array, or a copy where it is a view that the dataset may write to while the device reads it."""
    array = np.asarray(array)
    return array if array.flags.owndata else array.copy()


def _check(batch: Batch, dataset: Any, labels: np.ndarray) -> None:
    images = len(labels)
    shapes = [np.shape(array) for array in batch[:4]]
    wanted = [(images, *dataset.image_shape), (images,), (images,), (images,)]
    if shapes != wanted:
        raise PwactError(
            f"image, label, index, valid of shapes {wanted}",
            f"{shapes} from dataset.read",
            "mend the dataset",
        )
    if batch.image.dtype not in (np.uint8, np.float32):
        raise PwactError("images in uint8 or float32", str(batch.image.dtype), "convert them in dataset.read")
    outside = (labels < 0) | (labels >= dataset.num_classes)
    if outside.any():
        first = int(np.argmax(outside))
        raise PwactError(
            f"labels in 0 .. {dataset.num_classes - 1}",
            f"label {labels[first]} of image {batch.index[first]}",
            "mend the labels, or num_classes of the dataset",
        )
    other = batch.label != labels
    if other.any():
        first = int(np.argmax(other))
        raise PwactError(
            f"label {labels[first]} for image {batch.index[first]}, as dataset.labels says",
            f"label {batch.label[first]} from dataset.read",
            "mend the dataset",
        )
    if batch.index.min(initial=0) < 0 or batch.index.max(initial=0) >= 2**31 - 1:
        raise PwactError("dataset indices from 0 to 2**31 - 2", "one outside", "split the dataset")
