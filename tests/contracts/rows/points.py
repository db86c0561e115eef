"""What is known of every point on its own, in plain NumPy."""

from __future__ import annotations

import numpy as np

from pwact.stats import by_class, moments, per_channel

from ..contract import CLASSES, Contract, Data, for_each_class, pooled
from .foundation import moments_of

UNIT = 2.0**-24
SHAPE = {"skewness": 8 * 40 * UNIT * 9, "kurtosis": 16 * 40 * UNIT}
"""As `moments` states it for at most 16 updates and merges of 4 rows; the mean of |z|^3 of n samples is at
most sqrt(n), and there are 66 at most."""


def four_moments_of(data: Data) -> dict[str, np.ndarray]:
    result, x = moments_of(data), data.x.astype(np.float64)
    if not len(x):
        return result | {"skewness": result["mean"], "kurtosis": result["mean"]}
    spread = np.where(x.max(0) > x.min(0), result["variance"], np.nan)
    for name, power in (("skewness", 3), ("kurtosis", 4)):
        result[name] = ((x - x.mean(0)) ** power).mean(0) / spread ** (power / 2)
    return result


CONTRACTS = {
    "moments(order=3)": Contract(
        "moments",
        lambda: moments(order=3),
        lambda data: {name: value for name, value in four_moments_of(data).items() if name != "kurtosis"},
        absolute={"skewness": SHAPE["skewness"]},
    ),
    "by_class(moments(order=4))": Contract(
        "moments",
        lambda: by_class(moments(order=4), CLASSES),
        for_each_class(four_moments_of),
        tolerance={"kurtosis": SHAPE["kurtosis"]},
        absolute={"skewness": SHAPE["skewness"]},
    ),
    "per_channel(moments(order=4))": Contract(
        "moments",
        lambda: per_channel(moments(order=4)),
        pooled(four_moments_of),
        tolerance={"kurtosis": SHAPE["kurtosis"]},
        absolute={"skewness": SHAPE["skewness"]},
    ),
}
