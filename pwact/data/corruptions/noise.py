"""Noise of single numbers: each channel of each pixel on its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]


def gaussian_noise(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """x + c n with n standard normal. Status: code."""
    c = level.of((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
    return x + c * rng.standard_normal(x.shape)


def shot_noise(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """Poisson(c x) / c: light that arrives in c quanta for white. Status: code."""
    c = level.of((500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
    return rng.poisson(c * x) / c


def impulse_noise(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """A share c of the numbers becomes 0 or 1, either with probability 1/2. Status: code."""
    c = level.of((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
    hit, salt = rng.random((2, *x.shape)) < np.reshape([c, 0.5], (2, 1, 1, 1))
    return np.where(hit, salt.astype(float), x)


def speckle_noise(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """x + c x n with n standard normal. Status: code."""
    c = level.of((0.06, 0.10, 0.12, 0.16, 0.20), (0.15, 0.20, 0.35, 0.45, 0.60))
    return x + c * x * rng.standard_normal(x.shape)
