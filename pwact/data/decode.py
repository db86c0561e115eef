"""From a picture that Pillow opened to the pixels of a dataset: one rule for every source of pictures."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pwact.errors import PwactError

FORMATS = ("PNG", "JPEG")
#: What Pillow raises where a file is damaged.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def pixels_of(picture: Any, size: tuple[int, int], channels: int) -> UInt8[np.ndarray, "row column channel"]:
    """The pixels of a PIL image, in grey or RGB, scaled to cover `size` and cut to its middle.

    A picture of that size already keeps its pixels. Scaling keeps the aspect and uses Pillow's bilinear
    filter, which averages where it shrinks.

    Raises:
        One of `BROKEN`: the file that it lazily comes from is damaged.
    """
    from PIL import Image, ImageOps

    picture = picture.convert("L" if channels == 1 else "RGB")
    row, column = size
    if picture.size != (column, row):
        picture = ImageOps.fit(picture, (column, row), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(row, column, channels)


def checked_size(given: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(rows, columns) from an `image_size` argument."""
    if given is None:
        return None
    size = (given, given) if isinstance(given, int) else tuple(given)
    if len(size) != 2 or not all(isinstance(length, int) and length > 0 for length in size):
        raise PwactError("an image size above 0", f"{given!r}", "give image_size=32, or (rows, columns)")
    return size
