"""Random crops of a padded image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from pwact.data.augment.augmentation import Augmentation, checked


def crop(padding: int = 4) -> Augmentation:
    """The image moved by -padding .. padding rows and columns, uniformly; zeros come in.

    Args:
        padding: pixels, above 0.

    Raises:
        PwactError: padding below 1.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data.augment import crop
        >>> image = np.ones((1, 8, 8, 1), np.uint8)
        >>> moved = crop(padding=2)(image, jax.random.split(jax.random.key(1), 1))
        >>> 36 <= int(moved.sum()) <= 64
        True

    Reference: K. He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """
    checked("padding", "of at least 1", padding, padding >= 1)
    return Augmentation("crop", _crop, (("padding", padding),))


def _crop(key: Key[Array, ""], image: Num[Array, "row column channel"], *, padding: int) -> Array:
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (row, column, jnp.zeros_like(row)), image.shape)
