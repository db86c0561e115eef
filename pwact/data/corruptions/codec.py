"""What storing an image in less space does to it. Works on 8 bits a number, as Pillow does."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Array = Float[np.ndarray, "row column channel"]


def jpeg_compression(x: Array, level: Level, rng: np.random.Generator) -> Array:
    """JPEG of quality c by Pillow, whose libjpeg decides the last bits. Status: code."""
    from PIL import Image

    c = level.of((80, 65, 58, 50, 40), (25, 18, 15, 10, 7))
    file = io.BytesIO()
    _picture(x).save(file, "JPEG", quality=c)
    return _numbers(Image.open(file), x)


def pixelate(x: Array, level: Level, rng: np.random.Generator) -> Array:
    """Scaled to a share c of the rows and columns and back, by box averages. Status: code."""
    from PIL import Image

    c = level.of((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
    picture = _picture(x)
    less = [max(1, int(size * c)) for size in picture.size]
    small = picture.resize((less[0], less[1]), Image.Resampling.BOX)
    return _numbers(small.resize(picture.size, Image.Resampling.BOX), x)


def _picture(x: Array) -> Any:
    from PIL import Image

    pixels = np.round(x * 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if x.shape[-1] == 1 else pixels)


def _numbers(picture: Any, like: Array) -> Array:
    return np.asarray(picture).reshape(like.shape) / 255
