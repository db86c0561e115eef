"""A square of the image blotted out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from pwact.data.augment.augmentation import Augmentation, checked


def cutout(size: int = 8, fill: float | int = 0) -> Augmentation:
    """A square around a pixel drawn uniformly, as far as it lies in the image, becomes `fill`.

    Args:
        size: rows and columns of the square, above 0.
        fill: in pixel units; the mean of the data makes it 0 after standardising, as in the paper.

    Raises:
        PwactError: size below 1, or fill outside 0 .. 255.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data.augment import cutout
        >>> image = np.ones((1, 8, 8, 1), np.uint8)
        >>> left = int(cutout(size=4)(image, jax.random.split(jax.random.key(1), 1)).sum())
        >>> 64 - 16 <= left <= 64 - 4
        True

    Reference: T. DeVries, G. Taylor, Improved Regularization of Convolutional Neural Networks with
    Cutout, 2017.
    """
    checked("size", "of at least 1", size, size >= 1)
    checked("fill", "in 0 .. 255", fill, 0 <= fill <= 255)
    return Augmentation("cutout", _cutout, (("size", size), ("fill", float(fill))))


def _cutout(key: Key[Array, ""], image: Num[Array, "row column channel"], *, size: int, fill: float) -> Array:
    rows, columns, _ = image.shape
    for_row, for_column = jax.random.split(key)
    row = jnp.arange(rows) - jax.random.randint(for_row, (), 0, rows) + size // 2
    column = jnp.arange(columns) - jax.random.randint(for_column, (), 0, columns) + size // 2
    inside = ((row >= 0) & (row < size))[:, None] & ((column >= 0) & (column < size))[None, :]
    value = jnp.asarray(round(fill) if image.dtype == jnp.uint8 else fill, image.dtype)
    return jnp.where(inside[..., None], value, image)
