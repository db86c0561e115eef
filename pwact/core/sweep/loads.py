"""Reading a dataset once, in fixed loads, while the device computes; every image exactly once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np

from pwact.errors import PwactError
from pwact.types import Batch

Item = TypeVar("Item")


def first(dataset: Any, batch_size: int) -> Batch:
    """The first load, with masks where the dataset has them: for shapes, and for trying things out."""
    return next(loads(dataset, batch_size, getattr(dataset, "has_masks", False)))


def loads(dataset: Any, batch_size: int, masks: bool, own: range | None = None) -> Iterator[Batch]:
    """The images in order, `batch_size` at a time; the last load holds what is left.

    Within a load images are sorted by label: a statistic by class then finds few classes in a
    micro-batch.

    Args:
        dataset: anything with `len`, `read(positions)`, `labels`, `image_shape` and `num_classes`.
        batch_size: images, 1 or more.
        masks: whether to read object masks too, by `dataset.masks(positions)`.
        own: positions that are to be read; None for all.

    Raises:
        PwactError: an image that cannot be read, or a read that is not what was asked for.
    """
    labels = np.asarray(dataset.labels)
    own = range(len(dataset)) if own is None else own
    for first in own[::batch_size]:
        positions = np.arange(first, min(first + batch_size, own.stop))
        positions = positions[np.argsort(labels[positions], kind="stable")]
        batch = jax.tree.map(_own, _read(dataset, positions, masks))
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


def _read(dataset: Any, positions: np.ndarray, masks: bool) -> Batch:
    """Images, with their masks if asked for; of those that cannot be read, the first is named."""

    def read(positions: np.ndarray) -> Batch:
        batch = Batch(*dataset.read(positions))
        return batch._replace(mask=dataset.masks(positions)) if masks else batch

    try:
        return read(positions)
    except PwactError:  # a reader that says itself what is wrong
        raise
    except Exception as error:  # a dataset's reader raises whatever a damaged file leads it to
        for position in np.sort(positions):
            try:
                read(np.array([position]))
            except Exception as own:
                raise PwactError(
                    f"to read the image at position {position} of '{dataset.name}'",
                    f"{type(own).__name__}: {own}",
                    "mend the image, or leave it out of the dataset",
                ) from own
        raise PwactError(
            f"to read {len(positions)} images of '{dataset.name}' at once, from {positions.min()} on",
            f"{type(error).__name__}: {error}, though each of them can be read alone",
            "give a smaller batch_size, or mend dataset.read",
        ) from error


def _own(array: Any) -> np.ndarray:
    """The array, or a copy where it is a view that the dataset may write to while the device reads it."""
    array = np.asarray(array)
    return array if array.flags.owndata else array.copy()


def _check(batch: Batch, dataset: Any, labels: np.ndarray) -> None:
    images = len(labels)
    shapes = [np.shape(array) for array in batch if array is not None]
    wanted = [(images, *dataset.image_shape), (images,), (images,), (images,)]
    if batch.mask is not None:
        wanted.append((images, *dataset.image_shape[:2]))
    if shapes != wanted:
        raise PwactError(
            f"image, label, index, valid{'' if batch.mask is None else ', mask'} of shapes {wanted}",
            f"{shapes} from dataset.read",
            "mend the dataset",
        )
    if batch.image.dtype not in (np.uint8, np.float32):
        raise PwactError("images in uint8 or float32", str(batch.image.dtype), "convert them in dataset.read")
    if batch.mask is not None and batch.mask.dtype != bool:
        raise PwactError("masks of bools", str(batch.mask.dtype), "convert them in dataset.masks")
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
