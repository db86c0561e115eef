"""Left and right exchanged."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from pwact.data.augment.augmentation import Augmentation


def flip() -> Augmentation:
    """The image mirrored left to right, with probability 1/2.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data.augment import flip
        >>> image = np.array([[[[0], [9]]]], np.uint8)
        >>> sorted(flip()(image, jax.random.split(jax.random.key(2), 1))[0, 0, :, 0].tolist())
        [0, 9]
    """
    return Augmentation("flip", _flip)


def _flip(key: Key[Array, ""], image: Num[Array, "row column channel"]) -> Array:
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)
