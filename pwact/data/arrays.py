"""Datasets from arrays in memory: the door where images and labels are checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from pwact.data.dataset import ArrayDataset
from pwact.errors import NonFiniteError, PwactError


def arrays(
    images: Any,
    labels: Any,
    *,
    num_classes: int | None = None,
    name: str = "arrays",
) -> ArrayDataset:
    """A dataset from images and labels in memory.

    Args:
        images: [image, row, column, channel]; uint8 stays uint8, floating point becomes float32.
        labels: [image], integers in 0 .. num_classes - 1.
        num_classes: largest label + 1 if not given, and then the first class must hold an image; any other
            may hold none.
        name: for tables and provenance.

    Returns:
        The dataset. Arrays are kept without a copy where their type allows it: those that were given must
        not be changed afterwards, for hashes and compiled sweeps rely on them.

    Raises:
        PwactError: no images; wrong rank, dtype or length; labels outside the classes.
        NonFiniteError: a pixel is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> from pwact.data import arrays
        >>> arrays(np.zeros((2, 4, 4, 1), np.uint8), [0, 3]).num_classes
        4
    """
    images = _check_finite(check_images(_array("images", images)))
    images = images.view()
    images.flags.writeable = False  # the fingerprint is taken once
    labels, num_classes = check_labels(_array("labels", labels), len(images), num_classes)
    return ArrayDataset(images, labels, num_classes, name)


def check_labels(labels: np.ndarray, images: int, num_classes: int | None) -> tuple[np.ndarray, int]:
    """Labels as int32, one for each of so many images, and the number of classes; the rules of `arrays`."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise PwactError(
            "integer labels of shape [image]",
            f"{labels.dtype}{list(labels.shape)}",
            "give one integer class an image (argmax of one-hot labels)",
        )
    if len(labels) != images:
        raise PwactError("one label an image", f"{images} images and {len(labels)} labels", "match them")
    if num_classes is None:
        num_classes = int(labels.max()) + 1
        if labels.min() > 0:
            raise PwactError(
                "labels that begin at 0, as num_classes was not given",
                f"labels {labels.min()} to {labels.max()}",
                f"subtract {labels.min()}, or give num_classes if the first classes hold no image",
            )
    if not isinstance(num_classes, int | np.integer) or not 1 <= num_classes < 2**31:
        raise PwactError(
            "num_classes as a whole number below 2**31", f"{num_classes!r}", "number the classes 0, 1, ..."
        )
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        raise PwactError(
            f"labels in 0 .. {num_classes - 1}",
            f"label {labels[outside[0]]} at image {outside[0]} ({len(outside)} such labels)",
            "correct the labels or give num_classes",
        )
    return labels.astype(np.int32), int(num_classes)


def _array(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's word for nested lists of different lengths
        raise PwactError(f"{what} of one shape", f"a ragged list ({error})", _EVEN[what]) from error
    if array.dtype == object:
        raise PwactError(f"numeric {what}", "Python objects", _EVEN[what])
    return array


_EVEN = {
    "images": "resize all images to one shape, then np.stack(images)",
    "labels": "give one integer class an image: np.asarray(labels, np.int32)",
}


def check_images(images: np.ndarray) -> np.ndarray:
    """The images, if their shape and dtype are those of a dataset; the rules of `arrays`."""
    if images.ndim != 4:
        raise PwactError(
            "images of rank 4: [image, row, column, channel]",
            f"rank {images.ndim}, shape {list(images.shape)}",
            "add the channel axis of grey images with images[..., None]",
        )
    if len(images) == 0:
        raise PwactError("at least one image", "an empty dataset", "check where the images come from")
    if 0 in images.shape:
        raise PwactError("axes longer than 0", f"shape {list(images.shape)}", "check how the images were cut")
    if images.shape[1] in (1, 3, 4) and images.shape[2] == images.shape[3] > 4:
        raise PwactError(
            "the channel axis last: [image, row, column, channel]",
            f"shape {list(images.shape)}, which looks channel first",
            "transpose with images.transpose(0, 2, 3, 1)",
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise PwactError(
            "uint8 or floating point pixels", f"{images.dtype}", "convert them without losing range"
        )
    return images


def _check_finite(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):
        images = images.astype(np.float32, copy=False)
    finite = np.isfinite(images)
    if not finite.all():
        at = np.argwhere(~finite)[0].tolist()
        raise NonFiniteError(
            "finite pixels",
            f"{images[tuple(at)]} in image {at[0]} at row {at[1]}, column {at[2]}, channel {at[3]}"
            f" ({(~finite).sum()} such pixels)",
            "repair or drop these images",
        )
    return images
