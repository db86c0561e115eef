"""What is known of every point on its own, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pwact.stats import (
    bottom_k,
    by_class,
    density,
    lifetime_gini,
    lifetime_sparsity,
    moments,
    per_channel,
    population_gini,
    population_sparsity,
    top_k,
)

from ..contract import CLASSES, Contract, Data, Reference, for_each_class, pooled
from .foundation import moments_of, top_3_of

UNIT = 2.0**-24
SHAPE = {"skewness": 8 * 40 * UNIT * 9, "kurtosis": 16 * 40 * UNIT}
"""As `moments` states it for at most 16 updates and merges of 4 rows; the mean of |z|^3 of n samples is at
most sqrt(n), and there are 66 at most."""

LIFETIME = dict.fromkeys(("treves_rolls", "hoyer"), (2 * 40 + 16) * UNIT)


def four_moments_of(data: Data) -> dict[str, np.ndarray]:
    result, x = moments_of(data), data.x.astype(np.float64)
    if not len(x):
        return result | {"skewness": result["mean"], "kurtosis": result["mean"]}
    spread = np.where(x.max(0) > x.min(0), result["variance"], np.nan)
    for name, power in (("skewness", 3), ("kurtosis", 4)):
        result[name] = ((x - x.mean(0)) ** power).mean(0) / spread ** (power / 2)
    return result


def top_3_of_points(data: Data) -> dict[str, np.ndarray]:
    value, index = np.full((3, *data.x.shape[1:]), np.nan), np.full((3, *data.x.shape[1:]), -1)
    for place in np.ndindex(data.x.shape[1:]):
        best = sorted(zip(-data.x[:, *place], data.index, strict=True))[:3]
        for rank, (negated, i) in enumerate(best):
            value[rank, *place], index[rank, *place] = -negated, i
    return {"value": value, "index": index}


def of_least(reference: Reference) -> Reference:
    def least(data: Data) -> dict[str, np.ndarray]:
        result = reference(data._replace(x=-data.x))
        return result | {"value": -result["value"]}

    return least


def density_of(data: Data) -> dict[str, np.ndarray]:
    if not len(data.x):
        return {"count": np.asarray(0), "mean": np.asarray(np.nan), "variance": np.asarray(np.nan)}
    share = (data.x > 0.5).reshape(len(data.x), -1).mean(1)
    return {"count": np.asarray(len(share)), "mean": share.mean(), "variance": share.var()}


def lifetime_of(data: Data) -> dict[str, np.ndarray]:
    n, size = len(data.x), np.abs(data.x.astype(np.float64))
    result = {"count": np.asarray(n)}
    if n < 2:
        nothing = np.full(data.x.shape[1:], np.nan)
        return result | {"treves_rolls": nothing, "hoyer": nothing}
    spread = np.where(size.max(0) > size.min(0), size.var(0), 0)
    with np.errstate(invalid="ignore"):
        ratio = np.where(size.any(0), spread / size.mean(0) ** 2, np.nan)
    apart = ratio / (1 + ratio)
    return result | {
        "treves_rolls": apart / (1 - 1 / n),
        "hoyer": apart / (1 + np.sqrt(1 - apart)) / (1 - 1 / np.sqrt(n)),
    }


def population_of(measures: dict[str, Callable[[np.ndarray], float]]) -> Reference:
    def moments_of_measures(data: Data) -> dict[str, np.ndarray]:
        rows = np.abs(data.x.astype(np.float64)).reshape(len(data.x), int(np.prod(data.x.shape[1:])))
        active = rows[rows.any(1)]
        result = {"count": np.asarray(len(active)), "silent": np.asarray(len(rows) - len(active))}
        for name, measure in measures.items():
            each = np.array([measure(row) for row in active]) if len(active) else np.array([np.nan])
            result |= {f"{name}.mean": np.asarray(each.mean()), f"{name}.variance": np.asarray(each.var())}
        return result

    return moments_of_measures


def treves_rolls(row: np.ndarray) -> float:
    return (1 - row.mean() ** 2 / (row**2).mean()) / (1 - 1 / len(row))


def hoyer(row: np.ndarray) -> float:
    return (np.sqrt(len(row)) - row.sum() / np.sqrt((row**2).sum())) / (np.sqrt(len(row)) - 1)


def gini(row: np.ndarray) -> float:
    """Half the mean difference of any two, over the mean."""
    return np.abs(row[:, None] - row).mean() / 2 / row.mean()


def grouped_gini(values: np.ndarray) -> tuple[float, float]:
    """The Gini index of values that are known by their bin's mean, and what lies within the bins."""
    size = np.abs(values.astype(np.float64))
    if not size.any():
        return np.nan, np.nan
    mantissa, exponent = np.frexp(np.where(size > 0, size, 1))
    number = 4 * exponent + np.floor(8 * mantissa - 4).astype(int)
    within, known = 0.0, size.copy()
    for bin in np.unique(number[size > 0]):
        chosen = (number == bin) & (size > 0)
        low = 2.0 ** (bin // 4 - 1) * (1 + bin % 4 / 4)
        width, mean = 2.0 ** (bin // 4 - 3), size[chosen].mean()
        known[chosen] = mean
        within += chosen.mean() ** 2 * (mean - low) * (low + width - mean) / width / size.mean()
    return gini(known) + within / 2, within / 2


def lifetime_gini_of(data: Data) -> dict[str, np.ndarray]:
    result = np.full((2, *data.x.shape[1:]), np.nan)
    if len(data.x):
        for place in np.ndindex(data.x.shape[1:]):
            result[:, *place] = grouped_gini(data.x[:, *place])
    return {"count": np.asarray(len(data.x)), "gini": result[0], "gini_error": result[1]}


WITHIN = {"gini": 2e-5, "gini_error": 2e-5}
"""Of values that are 0 or within 16 octaves of the largest."""

POPULATION = population_of({"treves_rolls": treves_rolls, "hoyer": hoyer})
OF_MEASURES = dict.fromkeys(
    ("treves_rolls.mean", "hoyer.mean", "gini.mean"), (4 * 20 + 40) * UNIT
) | dict.fromkeys(("treves_rolls.variance", "hoyer.variance", "gini.variance"), 2 * (4 * 20 + 40) * UNIT)
"""Absolute, for maps of 2 rows, 3 columns and 2 channels, and measures from 0 to 1."""

CONTRACTS = {
    "lifetime_gini": Contract(
        "lifetime_gini",
        lifetime_gini,
        lifetime_gini_of,
        absolute=WITHIN,
        values=("ties", "offset", "constant"),
    ),
    "by_class(lifetime_gini)": Contract(
        "lifetime_gini",
        lambda: by_class(lifetime_gini(), CLASSES),
        for_each_class(lifetime_gini_of),
        absolute=WITHIN,
        values=("ties", "offset", "constant"),
    ),
    "per_channel(lifetime_gini)": Contract(
        "lifetime_gini",
        lambda: per_channel(lifetime_gini()),
        pooled(lifetime_gini_of),
        absolute=WITHIN,
        values=("ties", "offset", "constant"),
    ),
    "lifetime_sparsity": Contract("lifetime_sparsity", lifetime_sparsity, lifetime_of, tolerance=LIFETIME),
    "by_class(lifetime_sparsity)": Contract(
        "lifetime_sparsity",
        lambda: by_class(lifetime_sparsity(), CLASSES),
        for_each_class(lifetime_of),
        tolerance=LIFETIME,
    ),
    "population_sparsity": Contract(
        "population_sparsity", population_sparsity, POPULATION, absolute=OF_MEASURES
    ),
    "by_class(population_sparsity)": Contract(
        "population_sparsity",
        lambda: by_class(population_sparsity(), CLASSES),
        for_each_class(POPULATION),
        absolute=OF_MEASURES,
    ),
    "per_channel(population_sparsity)": Contract(
        "population_sparsity",
        lambda: per_channel(population_sparsity()),
        pooled(POPULATION),
        absolute=OF_MEASURES,
    ),
    "by_class(population_gini)": Contract(
        "population_gini",
        lambda: by_class(population_gini(), CLASSES),
        for_each_class(population_of({"gini": gini})),
        absolute=OF_MEASURES,
    ),
    "density": Contract("density", lambda: density(0.5), density_of),
    "by_class(density)": Contract(
        "density", lambda: by_class(density(threshold=0.5), CLASSES), for_each_class(density_of)
    ),
    "per_channel(density)": Contract("density", lambda: per_channel(density(0.5)), pooled(density_of)),
    "top_k(per=point)": Contract("top_k", lambda: top_k(3, per="point"), top_3_of_points),
    "bottom_k": Contract("bottom_k", lambda: bottom_k(3), of_least(top_3_of)),
    "by_class(bottom_k(per=point))": Contract(
        "bottom_k",
        lambda: by_class(bottom_k(3, per="point"), CLASSES),
        for_each_class(of_least(top_3_of_points)),
    ),
    "per_channel(top_k(per=point))": Contract(
        "top_k", lambda: per_channel(top_k(3, per="point")), pooled(top_3_of_points)
    ),
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
