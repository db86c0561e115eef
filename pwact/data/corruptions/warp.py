"""Pixels that move."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]


def glass_blur(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """Blurred by a Gaussian c, then pixels taken from up to d away, then blurred again. Status: code.

    Pixel after pixel, from the bottom right and as often as the level says, each becomes a copy of one in
    -d .. d - 1 rows and columns from it. (The published program means to swap the two; as it is written, it
    copies.) A border of d pixels stays. Severities differ in kind, not in strength only.
    """
    from scipy.ndimage import gaussian_filter

    c, d, times = level.of(
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    )
    rows, columns, channels = x.shape
    down, right = np.meshgrid(np.arange(rows - d, d, -1), np.arange(columns - d, d, -1), indexing="ij")
    place = (down * columns + right).ravel().tolist()
    came = list(range(rows * columns))
    for _ in range(times):
        offset = rng.integers(-d, d, (len(place), 2)) @ np.array([columns, 1])
        for at, step in zip(place, offset.tolist(), strict=True):
            came[at] = came[at + step]
    blurred = gaussian_filter(x, (c, c, 0), mode="nearest", truncate=4.0)
    moved = blurred.reshape(-1, channels)[came].reshape(x.shape)
    return gaussian_filter(moved, (c, c, 0), mode="nearest", truncate=4.0)


def elastic_transform(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """A random affine map, then each pixel moved by a smooth random field; borders mirror. Status: code.

    Three points around the middle move by up to c pixels each way and say the affine map. The field is
    uniform noise in -1 .. 1, blurred by a Gaussian b, times a. Severities differ in kind, not only in
    strength.
    """
    from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

    size = 32 if level.small else 244  # as published: 244, for images of 224
    a, b, c = size * np.array(
        level.of(
            ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
            ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        )
    )
    shape = np.array(x.shape[:2])
    reach = shape.min() // 3
    point = shape // 2 + reach * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    moved = point + rng.uniform(-c, c, point.shape)
    back = np.linalg.lstsq(np.c_[moved, np.ones(3)], point, rcond=None)[0]
    field = rng.uniform(-1, 1, (2, *shape))
    field = a * np.stack([gaussian_filter(part, b, mode="reflect", truncate=3.0) for part in field])
    place = np.mgrid[: shape[0], : shape[1]] + field

    def warped(channel: np.ndarray) -> np.ndarray:
        mapped = affine_transform(channel, back[:2].T, back[2], order=1, mode="mirror")
        return map_coordinates(mapped, place, order=1, mode="reflect")

    return np.stack([warped(x[..., channel]) for channel in range(x.shape[-1])], -1)
