"""Contrast, brightness and saturation, in the colour model HSV where there is colour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]


def contrast(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """(x - mean) c + mean, with the mean of each channel over the image. Status: code."""
    c = level.of((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * c + mean


def brightness(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """v + c at most 1, with v the largest channel of a pixel; hue and saturation stay. Status: code."""
    c = level.of((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
    v = x.max(-1, keepdims=True)
    lit = np.minimum(v + c, 1)
    return np.where(v > 0, x * lit / np.where(v > 0, v, 1), lit)


def saturate(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """s c + d in 0 .. 1, with s the saturation of a pixel; hue and brightness stay. Status: code.

    s is (largest - smallest channel) / largest. A grey pixel has hue 0, red, as in the published program:
    where d > 0 it turns reddish.
    """
    c, d = level.of(
        ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    )
    v = x.max(-1, keepdims=True)
    spread = v - x.min(-1, keepdims=True)
    s = spread / np.where(v > 0, v, 1)
    below = np.where(spread > 0, (v - x) / np.where(spread > 0, spread, 1), [0.0, 1.0, 1.0])
    return v - v * np.clip(s * c + d, 0, 1) * below
