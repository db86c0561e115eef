"""Brightness, contrast and saturation varied."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from pwact.data.augment.augmentation import Augmentation, checked

LUMA = (0.299, 0.587, 0.114)


def colour(
    brightness: float | int = 0.2, contrast: float | int = 0.2, saturation: float | int = 0.2
) -> Augmentation:
    """f x, then f (x - m) + m, then f (x - l) + l, each f drawn from 1 - setting .. 1 + setting.

    l is the pixel's luma 0.299 R + 0.587 G + 0.114 B, m the image's mean of it; of one channel l is x, and
    the last step changes nothing. uint8 images are clipped to 0 .. 255 and rounded at the end; floating point
    images are not clipped.

    Args:
        brightness, contrast, saturation: in 0 .. 1.

    Raises:
        PwactError: a setting outside 0 .. 1, or images of neither 1 nor 3 channels.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data.augment import colour
        >>> image = np.full((1, 4, 4, 3), 100, np.uint8)
        >>> value = int(colour(brightness=0.5)(image, jax.random.split(jax.random.key(1), 1))[0, 0, 0, 0])
        >>> 50 <= value <= 150
        True

    Reference: A. Howard, Some Improvements on Deep Convolutional Neural Network Based Image Classification,
    2013 (the three in random order; here the order is fixed).
    """
    settings = (("brightness", brightness), ("contrast", contrast), ("saturation", saturation))
    for name, value in settings:
        checked(name, "in 0 .. 1", value, 0 <= value <= 1)
    return Augmentation("colour", _colour, tuple((name, float(value)) for name, value in settings))


def _colour(
    key: Key[Array, ""],
    image: Num[Array, "row column channel"],
    *,
    brightness: float,
    contrast: float,
    saturation: float,
) -> Array:
    checked("channels", "of 1 or 3 for colour", image.shape[-1], image.shape[-1] in (1, 3))
    reach = jnp.array([brightness, contrast, saturation], jnp.float32)
    f = 1 + reach * jax.random.uniform(key, (3,), minval=-1, maxval=1)
    x = f[0] * image.astype(jnp.float32)
    mean = _luma(x).mean()
    x = f[1] * (x - mean) + mean
    x = f[2] * (x - _luma(x)) + _luma(x)
    return jnp.round(jnp.clip(x, 0, 255)).astype(jnp.uint8) if image.dtype == jnp.uint8 else x


def _luma(x: Array) -> Array:
    if x.shape[-1] == 1:
        return x
    return (x * jnp.array(LUMA, jnp.float32).reshape(1, 1, 3)).sum(-1, keepdims=True)
