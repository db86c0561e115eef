"""Arrays as crisp little PNGs, written into the page itself."""

from __future__ import annotations

import base64
import io
from functools import cache

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

LEVELS = 128


@cache
def palette(name: str, levels: int = LEVELS) -> UInt8[np.ndarray, "level 3"]:
    """`levels` colours of one of matplotlib's perceptually uniform maps.

    Example:
        >>> palette("viridis", 2).tolist()
        [[68, 1, 84], [253, 231, 37]]
    """
    colours = matplotlib.colormaps[name](np.linspace(0, 1, levels))[:, :3]
    return np.rint(255 * colours).astype(np.uint8)


def gradient(name: str, stops: int = 9) -> str:
    """The colour map as a CSS gradient, for colour bars.

    Example:
        >>> gradient("viridis", 2)
        'linear-gradient(to right, #440154, #fde725)'
    """
    colours = ", ".join("#" + bytes(colour).hex() for colour in palette(name, stops))
    return f"linear-gradient(to right, {colours})"


def colour_png(strip: Float[np.ndarray, "row column"], low: float, high: float, name: str) -> str:
    """A map in colour; NaN is left transparent.

    Args:
        strip: the values.
        low, high: the values of the first and the last colour; values outside take these colours.
        name: the colour map.

    Returns:
        A `data:image/png` address.

    Example:
        >>> colour_png(np.zeros((2, 2)), 0.0, 1.0, "viridis")[:22]
        'data:image/png;base64,'
    """
    missing = np.isnan(strip)
    span = high - low if high > low else 1.0
    share = np.clip((np.where(missing, low, strip) - low) / span, 0, 1)
    level = np.rint(share * (LEVELS - 1)).astype(np.uint8)
    level[missing] = LEVELS
    image = Image.frombytes("P", level.shape[::-1], level.tobytes())
    image.putpalette(palette(name).tobytes() + b"\x00\x00\x00")
    return _address(image, transparency=LEVELS if missing.any() else None)


def image_png(pixels: UInt8[np.ndarray, "row column channel"]) -> str:
    """Grey (1 channel) or colour (3 channels) pixels as they are.

    Example:
        >>> image_png(np.zeros((2, 2, 3), np.uint8))[:22]
        'data:image/png;base64,'
    """
    return _address(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _address(image: Image.Image, transparency: int | None = None) -> str:
    file = io.BytesIO()
    options = {} if transparency is None else {"transparency": transparency}
    image.save(file, "PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
