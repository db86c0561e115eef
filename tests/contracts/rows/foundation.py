"""Moments, extrema, firing, top-k, and the combinators over them, in plain NumPy."""

from __future__ import annotations

import numpy as np

from pwact.stats import by_class, extrema, firing, moments, named, on, per_channel, top_k

from ..contract import CLASSES, Contract, Data, for_each_class, pooled


def moments_of(data: Data) -> dict[str, np.ndarray]:
    x = data.x.astype(np.float64)
    empty = np.full(x.shape[1:], np.nan)
    return {
        "count": np.asarray(len(x)),
        "mean": x.mean(0) if len(x) else empty,
        "variance": x.var(0) if len(x) else empty,
    }


def firing_of(data: Data) -> dict[str, np.ndarray]:
    x = data.x
    share = (x > 0.5).mean(0) if len(x) else np.full(x.shape[1:], np.nan)
    return {"count": np.asarray(len(x)), "share": share, "dead": share == 0, "always_on": share == 1}


def extrema_of(data: Data) -> dict[str, np.ndarray]:
    x, index = data.x, data.index
    if not len(x):
        none, nowhere = np.full(x.shape[1:], np.nan), np.full(x.shape[1:], -1)
        return {"min": none, "min_index": nowhere, "max": none, "max_index": nowhere}
    by_index = np.argsort(index)
    x, index = x[by_index], index[by_index]
    low, high = index[x.argmin(0)], index[x.argmax(0)]
    return {"min": x.min(0), "min_index": low, "max": x.max(0), "max_index": high}


def top_3_of(data: Data) -> dict[str, np.ndarray]:
    x, index = data.x, data.index
    channels = x.shape[-1]
    points = x.reshape(len(x), int(np.prod(x.shape[1:-1])), channels)
    result = {"value": np.full((3, channels), np.nan), "index": np.full((3, channels), -1)}
    if x.ndim == 4:
        result |= {"row": np.full((3, channels), -1), "column": np.full((3, channels), -1)}
    for channel in range(channels):
        best = [
            (-image[:, channel].max(), i, image[:, channel].argmax())
            for image, i in zip(points, index, strict=True)
        ]
        for rank, (negated, i, position) in enumerate(sorted(best)[:3]):
            result["value"][rank, channel], result["index"][rank, channel] = -negated, i
            if x.ndim == 4:
                result["row"][rank, channel], result["column"][rank, channel] = divmod(position, x.shape[2])
    return result


def both(data: Data) -> dict[str, np.ndarray]:
    parts = {"m": moments_of(data), "f": firing_of(data)}
    return {f"{name}.{array}": value for name, part in parts.items() for array, value in part.items()}


def doubled_moments_of(data: Data) -> dict[str, np.ndarray]:
    return moments_of(data._replace(x=2 * data.x))


def doubled(x):
    return x * 2.0


CONTRACTS = {
    "moments": Contract("moments", moments, moments_of),
    "firing": Contract("firing", lambda: firing(threshold=0.5), firing_of),
    "extrema": Contract("extrema", extrema, extrema_of),
    "top_k": Contract("top_k", lambda: top_k(3), top_3_of),
    "by_class(moments)": Contract(
        "by_class", lambda: by_class(moments(), CLASSES), for_each_class(moments_of)
    ),
    "by_class(extrema)": Contract(
        "by_class", lambda: by_class(extrema(), CLASSES), for_each_class(extrema_of)
    ),
    "by_class(top_k)": Contract("by_class", lambda: by_class(top_k(3), CLASSES), for_each_class(top_3_of)),
    "per_channel(moments)": Contract("per_channel", lambda: per_channel(moments()), pooled(moments_of)),
    "per_channel(extrema)": Contract("per_channel", lambda: per_channel(extrema()), pooled(extrema_of)),
    "on(moments)": Contract(
        "on", lambda: on(doubled, moments()), lambda data: moments_of(data._replace(x=2 * data.x))
    ),
    "named": Contract("named", lambda: named(m=moments(), f=firing(threshold=0.5)), both),
    "by_class(per_channel(firing))": Contract(
        "by_class",
        lambda: by_class(per_channel(firing(threshold=0.5)), CLASSES),
        for_each_class(pooled(firing_of)),
    ),
}
