"""Covariance, co-activation, principal components and what compares two sites, in plain NumPy."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from pwact.core.accumulator import Accumulator, Named
from pwact.stats import by_class, cka, coactivation, covariance, cross_covariance, hsic, pca

from ..contract import CLASSES, Contract, Data, for_each_class

UNIT = 2.0**-24
SAMPLES = 4 * 6
"""In one batch of maps whose positions are pooled."""
BOUND = {"covariance": 4 * SAMPLES * UNIT}
SHARE = {"correlation": 8 * SAMPLES * UNIT}


def relate(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Of samples [n, ..., channel]."""
    if not len(x):
        nothing = np.full((*x.shape[1:], y.shape[-1]), np.nan)
        return {"count": np.asarray(0), "covariance": nothing, "correlation": nothing}
    x, y = x.astype(np.float64), y.astype(np.float64)
    x, y = x - x.mean(0), y - y.mean(0)
    together = np.einsum("n...i,n...j->...ij", x, y) / len(x)
    spread = np.sqrt((x**2).mean(0)[..., :, None] * (y**2).mean(0)[..., None, :])
    correlation = np.divide(together, spread, out=np.full_like(spread, np.nan), where=spread > 0)
    return {"count": np.asarray(len(x)), "covariance": together, "correlation": correlation}


def samples(x: np.ndarray, positions: str) -> np.ndarray:
    if positions == "pooled":
        return x.reshape(-1, x.shape[-1])
    if positions == "mean":
        return x.mean(tuple(range(1, x.ndim - 1)), dtype=np.float64)
    return x.reshape(len(x), int(np.prod(x.shape[1:]))) if positions == "flat" else x


def covariance_of(data: Data, positions: str = "pooled") -> dict[str, np.ndarray]:
    own = samples(data.x, positions)
    return relate(own, own)


def cross_covariance_of(data: Data, positions: str = "mean") -> dict[str, np.ndarray]:
    return relate(*(samples(x, positions) for x in data.x))


def coactivation_of(data: Data, positions: str = "pooled") -> dict[str, np.ndarray]:
    fires = (samples(data.x, positions) > 0.5).astype(np.int64)
    both = np.einsum("n...i,n...j->...ij", fires, fires)
    fired = fires.sum(0)
    either = fired[..., :, None] + fired[..., None, :] - both
    jaccard = np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
    return {"count": np.asarray(len(fires)), "both": both, "jaccard": jaccard}


def features(data: Data, positions: str) -> tuple[np.ndarray, np.ndarray]:
    """Deviations of both sites from their means."""
    x, y = (samples(part, positions).astype(np.float64) for part in data.x)
    return (x - x.mean(0), y - y.mean(0)) if len(x) else (x, y)


def without_diagonal(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimator from n x n kernels; NaN where float32 holds no |x|^2 |y|^2."""
    n = len(x)
    lengths = np.square(x).sum(-1) * np.square(y).sum(-1)
    if n < 4 or lengths.sum() > np.finfo(np.float32).max:
        return np.nan
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
    return ((k * m).sum() + one) / (n * (n - 3))


def hsic_of(data: Data, positions: str = "mean") -> dict[str, np.ndarray]:
    x, y = features(data, positions)
    n, value = len(x), np.nan
    if n > 1:
        value = ((x @ x.T) * (y @ y.T)).sum() / (n - 1) ** 2
    return {"count": np.asarray(n), "hsic": np.asarray(value), "unbiased": np.asarray(without_diagonal(x, y))}


def cka_of(data: Data, positions: str = "mean") -> dict[str, np.ndarray]:
    x, y = features(data, positions)
    k, m = x @ x.T, y @ y.T
    value = debiased = np.nan
    if k.any() and m.any():
        value = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
        h_xx, h_yy = without_diagonal(x, x), without_diagonal(y, y)
        if all(h > 1e-5 * (np.trace(a) / len(x)) ** 2 for h, a in ((h_xx, k), (h_yy, m))):
            debiased = without_diagonal(x, y) / np.sqrt(h_xx * h_yy)
    return {"count": np.asarray(len(x)), "cka": np.asarray(value), "debiased": np.asarray(debiased)}


def pca_of(data: Data) -> dict[str, np.ndarray]:
    """All components; instead of vectors, which equal eigenvalues leave open, what they add up to."""
    own = relate(*(samples(data.x, "pooled"),) * 2)
    x, matrix = samples(data.x, "pooled").astype(np.float64), own["covariance"]
    if not len(x):
        nothing = np.full(x.shape[-1:], np.nan)
        parts = {"mean": nothing, "eigenvalue": nothing, "explained": nothing}
        return {"count": own["count"], **parts, "together": matrix}
    values = np.linalg.eigvalsh(matrix)[::-1]
    explained = values / values.sum() if values.sum() > 0 else np.full_like(values, np.nan)
    parts = {"mean": x.mean(0), "eigenvalue": values, "explained": explained}
    return {"count": own["count"], **parts, "together": matrix}


@functools.cache
def added_up(components: int) -> Accumulator:
    acc = pca(components)

    def finalize(state):
        result = acc.finalize(state)
        vectors = result.pop("components").values
        values = result["eigenvalue"].values
        together = jnp.einsum("...k,...ki,...kj->...ij", values, vectors, vectors)
        return result | {"together": Named(together, ("channel", "other_channel"))}

    return acc._replace(finalize=finalize)


def added_up_by_class(components: int) -> Accumulator:
    return by_class(added_up(components), CLASSES)


def related(factory: str, make, reference, **kwargs) -> Contract:
    return Contract(factory, make, reference, absolute=BOUND | SHARE, tolerance=BOUND, **kwargs)


def two(factory: str, make, reference, **kwargs) -> Contract:
    """To the bounds of the docstrings for up to 36 features."""
    squared = 2 * 8 * SAMPLES * UNIT * 36**0.5
    bound = {factory: squared, "unbiased": 2 * squared, "debiased": 2 * squared}
    return Contract(factory, make, reference, absolute=bound, tolerance=bound, **kwargs)


PCA = dict.fromkeys(("mean", "eigenvalue", "explained", "together"), (4 * SAMPLES + 3) * UNIT * 3)
"""Of three channels with values of -1, 0 and 1, whose variances add up to 3 at most."""
SMALL = ("ties", "constant")
WIDE = ("normal", *SMALL)
"""Not so wide that one bound fits no two channels: the second site holds squares of the first."""
MAP = ("map",)

CONTRACTS = {
    "covariance": related("covariance", covariance, covariance_of),
    "covariance(each)": related(
        "covariance",
        lambda: covariance(positions="each"),
        functools.partial(covariance_of, positions="each"),
        kinds=MAP,
    ),
    "by_class(covariance)": related(
        "covariance", lambda: by_class(covariance(), CLASSES), for_each_class(covariance_of), kinds=MAP
    ),
    "coactivation": Contract(
        "coactivation", lambda: coactivation(0.5), coactivation_of, tolerance={"jaccard": 8 * UNIT}
    ),
    "by_class(coactivation(each))": Contract(
        "coactivation",
        lambda: by_class(coactivation(0.5, positions="each"), CLASSES),
        for_each_class(functools.partial(coactivation_of, positions="each")),
        tolerance={"jaccard": 8 * UNIT},
        kinds=MAP,
    ),
    "pca": Contract(
        *("pca", functools.partial(added_up, 2), pca_of, PCA, PCA),
        kinds=MAP,
        values=SMALL,
    ),
    "by_class(pca)": Contract(
        *("pca", functools.partial(added_up_by_class, 3), for_each_class(pca_of), PCA, PCA),
        kinds=("vector",),
        values=SMALL,
    ),
    "cross_covariance": related("cross_covariance", cross_covariance, cross_covariance_of, values=WIDE),
    "cross_covariance(pooled)": related(
        "cross_covariance",
        lambda: cross_covariance(positions="pooled"),
        functools.partial(cross_covariance_of, positions="pooled"),
        kinds=MAP,
        values=WIDE,
    ),
    "by_class(cross_covariance(each))": related(
        "cross_covariance",
        lambda: by_class(cross_covariance(positions="each"), CLASSES),
        for_each_class(functools.partial(cross_covariance_of, positions="each")),
        kinds=MAP,
        values=SMALL,
    ),
    "hsic": two("hsic", hsic, hsic_of, values=SMALL),
    "by_class(hsic(pooled))": two(
        "hsic",
        lambda: by_class(hsic(positions="pooled"), CLASSES),
        for_each_class(functools.partial(hsic_of, positions="pooled")),
        kinds=MAP,
        values=SMALL,
    ),
    "cka": two("cka", cka, cka_of, values=WIDE),
    "by_class(cka(flat))": two(
        "cka",
        lambda: by_class(cka(positions="flat"), CLASSES),
        for_each_class(functools.partial(cka_of, positions="flat")),
        kinds=MAP,
        values=SMALL,
    ),
}
