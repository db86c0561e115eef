"""Fog from a fractal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]


def fog(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """(x + c f) m / (m + c) with m the largest value of x and f a fractal in 0 .. 1. Status: code."""
    c, decay = level.of(
        ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    )
    rows, columns = x.shape[:2]
    size = max(32 if level.small else 256, 1 << (max(rows, columns) - 1).bit_length())
    f = plasma(size, decay, rng)[:rows, :columns, None]
    return (x + c * f) * x.max() / (x.max() + c)


def plasma(size: int, decay: float, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    """A random height map by midpoint displacement on a torus, in 0 .. 1.

    Corners first, then the middle of each square and of each edge: the mean of its four neighbours plus
    uniform noise in -w² .. w². The squares halve and w becomes w / decay until every point is set.

    Args:
        size: a power of two.
        decay: above 1; the larger, the smoother.
        rng: where the noise comes from.

    Example:
        >>> heights = plasma(16, 2.0, np.random.default_rng(0))
        >>> heights.shape, heights.min(), heights.max()
        ((16, 16), np.float64(0.0), np.float64(1.0))
    """
    heights = np.zeros((size, size))
    step, w = size, 100.0
    while step > 1:
        half = step // 2

        def displaced(total: np.ndarray, w: float = w) -> np.ndarray:
            return total / 4 + rng.uniform(-(w**2), w**2, total.shape)

        corner = heights[::step, ::step]
        across = corner + np.roll(corner, -1, 1)
        middle = heights[half::step, half::step]
        middle[...] = displaced(across + np.roll(across, -1, 0))
        heights[::step, half::step] = displaced(middle + np.roll(middle, 1, 0) + across)
        down = corner + np.roll(corner, -1, 0)
        heights[half::step, ::step] = displaced(middle + np.roll(middle, 1, 1) + down)
        step, w = half, w / decay
    heights -= heights.min()
    return heights / heights.max()
