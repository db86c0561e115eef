"""Snow that falls and makes the scene paler."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pwact.data.corruptions.blur import magnified, streaked
from pwact.data.corruptions.level import Level

Image = Float[np.ndarray, "row column channel"]
LUMA = np.array([0.299, 0.587, 0.114])


def snow(x: Image, level: Level, rng: np.random.Generator) -> Image:
    """p x + (1 - p) max(x, 1.5 l + 0.5) + f + f turned by half a circle, with l the luma and f flakes.

    Flakes are normal noise (mean, deviation), magnified, zero below a threshold, and streaked along a random
    line, -135 to -45 degrees. Severities differ in kind, not only in strength. Status: reconstruction, as it
    streaks as `motion_blur` does; all else is code.
    """
    mean, deviation, zoom, threshold, r, c, p = level.of(
        (
            (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
        ),
        (
            (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
        ),
    )
    f = magnified(rng.normal(mean, deviation, (*x.shape[:2], 1)), zoom)
    f = streaked(np.clip(np.where(f < threshold, 0, f), 0, 1), r, c, rng.uniform(-135, -45))
    luma = x if x.shape[-1] == 1 else (x @ LUMA)[..., None]
    return p * x + (1 - p) * np.maximum(x, 1.5 * luma + 0.5) + f + f[::-1, ::-1]
