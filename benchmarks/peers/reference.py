"""Workload W and its statistics in float64 with NumPy alone: what every peer is held to before it's timed."""

from __future__ import annotations

import numpy as np
from worker import QUANTILES, STRIDES, TOP, Result, Work

CHUNK = 128
SIX = 1e-5  # of the site's largest activation; float32 sums of up to 576 products, then of 4,096 images
SIX_FIRED = 4  # images at a point: two programs may round a value at the threshold to either side of it
COVARIANCE = 1e-4  # of the largest covariance of the site: its entries are sums of up to 4 million products
RANK = 1e-3  # what the rank of a quantile may be off by, the resolution that baukit's sketch states
RELATIVE = 1.01e-2  # or, instead, its value: the bound of pwact.stats.quantiles, and float32's share of it,
FLOOR = 2**11  # which holds down to this part of the channel's largest


def maps(work: Work, images: np.ndarray) -> list[np.ndarray]:
    """The four ReLU maps [image, row, column, channel] as float64, by shifted slices and matrix products."""
    found = []
    x = images.astype(np.float64)
    for kernel, bias, stride in zip(work.kernels, work.biases, STRIDES, strict=True):
        size = -(-x.shape[1] // stride)
        padding = max((size - 1) * stride + 3 - x.shape[1], 0)
        low = padding // 2
        x = np.pad(x, ((0, 0), (low, padding - low), (low, padding - low), (0, 0)))
        span = stride * (size - 1) + 1
        total = np.zeros((*x.shape[:1], size, size, kernel.shape[-1]))
        for r in range(3):
            for c in range(3):
                total += x[:, r : r + span : stride, c : c + span : stride] @ kernel[r, c].astype(np.float64)
        x = np.maximum(total + bias, 0)
        found.append(x)
    return found


class Reference:
    """Float64 statistics of the first `images` images, and what a peer's result differs by."""

    def __init__(self, work: Work):
        self.images = len(work.images)
        sums: list[dict[str, np.ndarray]] = []
        kept: list[list[np.ndarray]] = [[] for _ in STRIDES]
        for start in range(0, self.images, CHUNK):
            for i, a in enumerate(maps(work, work.images[start : start + CHUNK])):
                flat = a.reshape(-1, a.shape[-1])
                part = {"sum": a.sum(0), "squares": (a * a).sum(0), "fired": (a > 0).sum(0)}
                part |= {"gram": flat.T @ flat, "total": flat.sum(0)}
                if start == 0:
                    sums.append(part)
                else:
                    sums[i] = {name: sums[i][name] + part[name] for name in part}
                kept[i].append(a.astype(np.float32))
        self.activation = [np.concatenate(parts) for parts in kept]
        self.six, self.covariance = [], []
        for s, a in zip(sums, self.activation, strict=True):
            mean = s["sum"] / self.images
            variance = np.maximum(s["squares"] / self.images - mean**2, 0)
            low, high = a.min(0), a.max(0)
            self.six.append(
                {"mean": mean, "std": variance**0.5, "min": low, "max": high, "fired": s["fired"]}
            )
            points = a[..., 0].size
            center = s["total"] / points
            self.covariance.append(s["gram"] / points - np.outer(center, center))

    def difference(self, task: str, result: Result) -> dict[str, float]:
        """What a peer's numbers are off by, each in units of its tolerance, and whatever it must not miss."""
        measure = {
            "six": self._six,
            "covariance": self._covariance,
            "top": self._top,
            "quantiles": self._quantiles,
        }[task]
        worst: dict[str, float] = {}
        for i in range(len(STRIDES)):
            for name, value in measure(i, result).items():
                worst[name] = max(worst.get(name, 0.0), float(value))
        return worst

    def _six(self, i: int, result: Result) -> dict[str, float]:
        wanted, a = self.six[i], self.activation[i]
        scale = float(a.max()) * SIX
        found = {
            name: np.asarray(result[f"{i}.{name}"], np.float64) for name in ("mean", "variance", "min", "max")
        }
        found["std"] = np.sqrt(np.maximum(found.pop("variance"), 0))
        off = {name: np.abs(value - wanted[name]).max() / scale for name, value in found.items()}
        off["firing"] = np.abs(result[f"{i}.firing"] * self.images - wanted["fired"]).max() / SIX_FIRED
        for name in ("min", "max"):
            if f"{i}.{name}_index" in result:
                index = np.asarray(result[f"{i}.{name}_index"], np.int64)
                there = np.take_along_axis(a, index[None], 0)[0]
                off[f"{name}_index"] = np.abs(there - wanted[name]).max() / scale
        return off

    def _covariance(self, i: int, result: Result) -> dict[str, float]:
        wanted = self.covariance[i]
        off = np.abs(np.asarray(result[f"{i}.covariance"], np.float64) - wanted).max()
        return {"covariance": off / (COVARIANCE * np.abs(wanted).max())}

    def _top(self, i: int, result: Result) -> dict[str, float]:
        """`value` and `index` [channel, rank]: images by their largest activation in the channel."""
        strongest = self.activation[i].max((1, 2)).T
        scale = float(strongest.max()) * SIX
        wanted = -np.sort(-strongest, axis=1)[:, :TOP]
        there = np.take_along_axis(strongest, np.asarray(result[f"{i}.index"], np.int64), 1)
        return {
            "value": np.abs(result[f"{i}.value"] - wanted).max() / scale,
            "index": np.abs(there - wanted).max() / scale,
        }

    def _quantiles(self, i: int, result: Result) -> dict[str, float]:
        """`value` [channel, quantile]: by rank or by value, whichever is nearer, and each on its own.

        A value stands for every rank among its equals: a ReLU's zeros are many.
        """
        by_channel = np.moveaxis(self.activation[i], -1, 0).reshape(self.activation[i].shape[-1], -1)
        rank = relative = either = 0.0
        for channel, values in enumerate(by_channel):
            places = [int(np.floor(q * (values.size - 1))) for q in QUANTILES]
            exact = np.partition(values, places)[places]
            for q, wanted, found in zip(QUANTILES, exact, result[f"{i}.value"][channel], strict=True):
                slack = 1e-6 * max(abs(float(found)), float(values.max()) * 1e-3)
                below, upto = (values < found - slack).mean(), (values <= found + slack).mean()
                by_rank = max(below - q, q - upto, 0) / RANK
                large = max(abs(wanted), abs(found))
                by_value = abs(found - wanted) / large / RELATIVE if large > values.max() / FLOOR else 0
                rank, relative = max(rank, by_rank), max(relative, by_value)
                either = max(either, min(by_rank, by_value))
        return {"rank": rank, "relative": relative, "rank or relative": either}

    @staticmethod
    def holds(task: str, off: dict[str, float]) -> bool:
        """Whether the numbers are within tolerance; for quantiles either way of measuring will do."""
        return (off["rank or relative"] if task == "quantiles" else max(off.values())) <= 1
