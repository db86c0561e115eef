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


def kernels(data: Data, positions: str) -> tuple[int, float, float, float]:
    """Samples, and traces of K H L H, K H K H and L H L H with n x n kernels."""
    x, y = (samples(part, positions).astype(np.float64) for part in data.x)
    n = len(x)
    x, y = x - x.mean(0) if n else x, y - y.mean(0) if n else y
    k, m = x @ x.T, y @ y.T
    return n, np.sum(k * m), np.sum(k * k), np.sum(m * m)


def hsic_of(data: Data, positions: str = "mean") -> dict[str, np.ndarray]:
    n, across, _, _ = kernels(data, positions)
    return {"count": np.asarray(n), "hsic": np.asarray(across / (n - 1) ** 2 if n > 1 else np.nan)}


def cka_of(data: Data, positions: str = "mean") -> dict[str, np.ndarray]:
    n, across, own, other = kernels(data, positions)
    varies = own > 0 and other > 0
    return {"count": np.asarray(n), "cka": np.asarray(across / np.sqrt(own * other) if varies else np.nan)}


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
    """A number that is the square of one with the bound of `relate`, of up to 36 features."""
    bound = {factory: 2 * 8 * SAMPLES * UNIT * 36**0.5}
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
    "hsic": two("hsic", hsic, hsic_of, values=WIDE),
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
