"""Histograms, quantiles and overlap with masks, in plain NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from pwact.stats import by_class, exact_quantiles, histogram, overlap, per_channel, quantiles

from ..contract import CLASSES, Contract, Data, for_each_class, pooled

UNIT = 2.0**-24
EDGES = (-1.0, -0.3, 0.1, 1.0, 1e6)
Q = (0.0, 0.3, 0.5, 1.0)
ERROR = 0.05


def points_of(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def histogram_of(edges_of):
    def reference(data: Data) -> dict[str, np.ndarray]:
        """`edges_of`: activations [image, ..., channel] -> edges [edge] or [edge, channel]."""
        x, shape = points_of(data.x), data.x.shape[1:]
        edges = edges_of(data.x)
        own = np.broadcast_to(edges.reshape(len(edges), -1), (len(edges), shape[-1]))
        count = np.zeros((len(edges) - 1, x.shape[1]), np.int64)
        below, above = np.zeros((2, x.shape[1]), np.int64)
        for point in range(x.shape[1]):
            edge = own[:, point % shape[-1]]
            if len(x):
                count[:, point] = np.histogram(x[:, point], edge)[0]
            below[point], above[point] = (x[:, point] < edge[0]).sum(), (x[:, point] > edge[-1]).sum()
        return {
            "count": count.reshape(-1, *shape),
            "below": below.reshape(shape),
            "above": above.reshape(shape),
            "edges": edges.astype(np.float32),
        }

    return reference


def found_edges(bins: int):
    """The edges that are documented. Two bins: their middle is rounded once, whatever computes it."""

    def edges_of(x: np.ndarray) -> np.ndarray:
        if not len(x):
            return np.full((bins + 1, x.shape[-1]), np.nan)
        axes = tuple(range(x.ndim - 1))
        half = np.float32(0.5)
        low, high = x.min(axes), x.max(axes)
        one = low == high
        low, high = np.where(one, low - half, low), np.where(one, high + half, high)
        step = (np.arange(bins + 1, dtype=np.float32) / np.float32(bins))[:, None]
        edges = 2 * (low / 2 + (high / 2 - low / 2) * step)
        edges[-1] = high
        return np.minimum(edges, high)

    return edges_of


def lower_order_statistics(x: np.ndarray, q: tuple[float, ...]) -> np.ndarray:
    if not len(x):
        return np.full((len(q), *x.shape[1:]), np.nan, np.float32)
    places = [math.floor(Fraction(repr(quantile)) * (len(x) - 1)) for quantile in q]
    return np.sort(x, axis=0)[places]


def exact_of(data: Data) -> dict[str, np.ndarray]:
    return {"value": lower_order_statistics(data.x, Q), "q": np.float32(Q)}


def sketch_of(data: Data) -> dict[str, np.ndarray]:
    """What the buckets of the order statistics stand for, from their definition, in float64."""
    cuts = math.ceil((1 / ERROR - 1) / 2)
    exact = lower_order_statistics(data.x, Q).astype(np.float64)
    result = {"q": np.float32(Q)}
    if not len(data.x):
        return result | {"value": exact, "floor": np.full(data.x.shape[-1:], np.nan)}
    largest = np.abs(data.x.astype(np.float64)).max(tuple(range(data.x.ndim - 1)))
    floor = 2.0 ** (np.floor(np.log2(np.maximum(largest, 2.0**-126))) - 11)
    floor = np.maximum(floor, 2.0**-126)
    size = np.abs(np.where(exact == 0, 1, exact))
    power = 2.0 ** np.floor(np.log2(size))
    a = 1 + np.floor((size / power - 1) * cuts) / cuts
    b = a + 1 / cuts
    value = np.sign(exact) * power * 2 * a * b / (a + b)
    return result | {"value": np.where(np.abs(exact) < floor, 0, value), "floor": floor}


def overlap_of(quantile: float):
    def reference(data: Data) -> dict[str, np.ndarray]:
        x, mask = data.x, data.mask
        channels = x.shape[-1]
        threshold = lower_order_statistics(x.reshape(-1, channels), (quantile,))[0]
        up = x
        for axis, size in ((1, mask.shape[1]), (2, mask.shape[2])):
            position = np.clip((np.arange(size) + 0.5) * x.shape[axis] / size - 0.5, 0, x.shape[axis] - 1)
            before = np.floor(position).astype(int)
            after = np.minimum(before + 1, x.shape[axis] - 1)
            weight = (position - before).astype(np.float32).reshape(-1, *(1,) * (3 - axis))
            low, high = up.take(before, axis), up.take(after, axis)
            up = low + (high - low) * weight
        active = up > threshold
        seen = mask[..., None]
        both = (active & seen).sum((0, 1, 2))
        either = (active | seen).sum((0, 1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            pixels = np.float64(mask.size)
            a, m = active.sum((0, 1, 2)) / pixels, mask.sum() / pixels
            iou = both / either
            chance = a * m / (a + m - a * m)
            ceiling = np.minimum(a, m) / np.maximum(a, m)
            normalised = np.where(ceiling > chance, (iou - chance) / (ceiling - chance), np.nan)
        return {
            "iou": iou,
            "chance": chance,
            "ceiling": ceiling,
            "normalised": normalised,
            "threshold": threshold,
            "active_share": a,
            "object_share": np.asarray(m),
            "intersection": both,
            "union": either,
        }

    return reference


RATIOS = {name: 16 * UNIT for name in ("iou", "chance", "ceiling", "active_share", "object_share")}
LOOSE = {"normalised": 1e-4}  # 2^-19 / (ceiling - chance), which is at least 0.02 here
SKETCH = {"value": 4 * UNIT, "floor": 0.0}


def given(data_or_x):
    return np.asarray(EDGES)


def ranged(data_or_x):
    return np.linspace(-0.7, 1.1, 6)


CONTRACTS = {
    "histogram(edges)": Contract("histogram", lambda: histogram(EDGES), histogram_of(given)),
    "histogram(range)": Contract(
        "histogram", lambda: histogram(5, range=(-0.7, 1.1)), histogram_of(ranged), kinds=("map",)
    ),
    "histogram": Contract("histogram", lambda: histogram(2), histogram_of(found_edges(2))),
    "by_class(histogram)": Contract(
        "histogram",
        lambda: by_class(histogram(2), CLASSES),
        for_each_class(histogram_of(found_edges(2))),
        kinds=("map",),
    ),
    "per_channel(histogram)": Contract(
        "histogram", lambda: per_channel(histogram(2)), pooled(histogram_of(found_edges(2))), kinds=("map",)
    ),
    "quantiles": Contract("quantiles", lambda: quantiles(Q, relative_error=ERROR), sketch_of, SKETCH),
    "by_class(per_channel(quantiles))": Contract(
        "quantiles",
        lambda: by_class(per_channel(quantiles(Q, relative_error=ERROR)), CLASSES),
        for_each_class(pooled(sketch_of)),
        SKETCH,
        kinds=("map",),
    ),
    "exact_quantiles": Contract("exact_quantiles", lambda: exact_quantiles(Q), exact_of),
    "by_class(exact_quantiles)": Contract(
        "exact_quantiles",
        lambda: by_class(exact_quantiles(Q), CLASSES),
        for_each_class(exact_of),
        kinds=("map",),
    ),
    "per_channel(exact_quantiles)": Contract(
        "exact_quantiles",
        lambda: per_channel(exact_quantiles(Q, bits=16)),
        pooled(exact_of),
        kinds=("map",),
    ),
    "overlap": Contract("overlap", lambda: overlap(0.8), overlap_of(0.8), RATIOS, LOOSE, kinds=("map",)),
    "by_class(overlap)": Contract(
        "overlap",
        lambda: by_class(overlap(0.8), CLASSES),
        for_each_class(overlap_of(0.8)),
        RATIOS,
        LOOSE,
        kinds=("map",),
    ),
}
