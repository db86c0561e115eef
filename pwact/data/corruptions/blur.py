"""Averages over neighbouring pixels. Lengths are in pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]


def gaussian_blur(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """A Gaussian of standard deviation c, cut off at 4 c; borders repeat. Status: code."""
    from scipy.ndimage import gaussian_filter

    c = level.of((0.4, 0.6, 0.7, 0.8, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0))
    return gaussian_filter(x, (c, c, 0), mode="nearest", truncate=4.0)


def defocus_blur(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """The mean over a disc whose edge a small Gaussian softens; borders mirror. Status: code.

    A disc of radius below 1 is one pixel: in the small version the Gaussian does the work of the first three
    severities.
    """
    from scipy.ndimage import correlate

    radius, softness = level.of(
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    )
    return correlate(x, disc(radius, softness)[..., None], mode="mirror")


def disc(radius: float, softness: float) -> Float[np.ndarray, "size size"]:
    """The kernel of `defocus_blur`, without rows and columns of zeros around it."""
    from scipy.ndimage import correlate1d

    half = 8 if radius <= 8 else int(radius)
    reach = 1 if radius <= 8 else 2
    offset = np.arange(-half, half + 1)
    kernel = (offset[:, None] ** 2 + offset**2 <= radius**2).astype(float)
    kernel /= kernel.sum()
    soft = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * softness**2))
    for axis in (0, 1):
        kernel = correlate1d(kernel, soft / soft.sum(), axis, mode="mirror")
    used = np.flatnonzero(kernel.any(0))
    inside = slice(used[0], used[-1] + 1)
    return kernel[inside, inside]


def motion_blur(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """A one-sided Gaussian along a line of random direction, -45 to 45 degrees; borders repeat.

    Weight exp(-i² / 2 c²) at i = 0 .. 2 r pixels along the line, each at the nearest pixel. Status:
    reconstruction of ImageMagick's motion blur, which the published program calls with these r and c.
    """
    r, c = level.of(
        ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
        ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
    )
    return streaked(x, r, c, rng.uniform(-45, 45))


def streaked(x: Image, r: int, c: float, degrees: float) -> Image:
    """Each pixel the mean of those at i = 0 .. 2 r along a line, weighted by exp(-i² / 2 c²)."""
    angle = np.deg2rad(degrees)
    step = np.arange(2 * r + 1)
    weight = np.exp(-(step**2) / (2 * c**2))
    rows, columns = x.shape[:2]
    blurred = np.zeros(x.shape)
    for i, share in zip(step, weight / weight.sum(), strict=True):
        row = np.clip(np.arange(rows) + round(i * np.sin(angle)), 0, rows - 1)
        column = np.clip(np.arange(columns) + round(i * np.cos(angle)), 0, columns - 1)
        blurred += share * x[row[:, None], column]
    return blurred


def zoom_blur(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """The mean of the image and its middle at several magnifications, linearly interpolated. Status: code."""
    end, step = level.of(
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    )
    factors = np.arange(1, end, step)
    return (x + sum(magnified(x, factor) for factor in factors)) / (len(factors) + 1)


def magnified(x: Image, factor: float) -> Image:
    """The middle of an image, linearly interpolated to the size of the whole."""
    from scipy.ndimage import zoom

    rows, columns = x.shape[:2]
    kept = [int(np.ceil(size / factor)) for size in (rows, columns)]
    top, left = (rows - kept[0]) // 2, (columns - kept[1]) // 2
    larger = zoom(x[top : top + kept[0], left : left + kept[1]], (factor, factor, 1), order=1)
    top, left = (larger.shape[0] - rows) // 2, (larger.shape[1] - columns) // 2
    return larger[top : top + rows, left : left + columns]
