"""Classes, decisions and gradients, in plain NumPy."""

from __future__ import annotations

import itertools

import numpy as np

from pwact.stats import (
    accuracy,
    agreement,
    by_class,
    calibration_error,
    confusion,
    extrema,
    firing,
    gradient_times_activation,
    moments,
    mutual_information,
    of_gradient,
    per_channel,
    selectivity,
)

from ..contract import CLASSES, Contract, Data, for_each_class, pooled
from .foundation import extrema_of, firing_of, moments_of

UNIT = 2.0**-24
POINTWISE = 4 * (16 + 4 + CLASSES) * UNIT
"""What `selectivity` states for at most 16 updates and merges of 4 rows."""
POOLED = 4 * (16 + 24 + CLASSES) * UNIT
"""The same where 6 positions are pooled."""


def selectivity_of(data: Data) -> dict[str, np.ndarray]:
    x = data.x.astype(np.float64)
    present = [c for c in range(CLASSES) if (data.label == c).any()]
    # Measured from some value: a constant then has no variance at all.
    y = x - x[0]
    means = np.stack([y[data.label == c].mean(0) for c in present])
    d_prime = np.full((CLASSES, *x.shape[1:]), np.nan)
    for c, mean in zip(present, means, strict=True):
        own, other = y[data.label == c], y[data.label != c]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (mean - other.mean(0)) / np.sqrt((own.var(0) + other.var(0)) / 2)
        d_prime[c] = np.where(own.var(0) + other.var(0) > 0, ratio, np.nan)
    between = sum(
        (data.label == c).sum() * (mean - y.mean(0)) ** 2 for c, mean in zip(present, means, strict=True)
    )
    spread = ((y - y.mean(0)) ** 2).sum(0)
    order = np.sort(means + x[0], axis=0)
    high, rest = order[-1], order[:-1].mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        index = np.where((order[0] >= 0) & (high > 0), (high - rest) / (high + rest), np.nan)
        eta_squared = np.where(spread > 0, between / spread, np.nan)
    return {
        "count": np.array([(data.label == c).sum() for c in range(CLASSES)]),
        "index": index,
        "preferred": np.array(present)[means.argmax(0)],
        "d_prime": d_prime,
        "eta_squared": eta_squared,
    }


def information_of(data: Data) -> dict[str, np.ndarray]:
    """From the entropies of the tables, one point at a time."""
    n = len(data.x)
    fires = (data.x > 0.5).reshape(n, -1)
    raw, corrected = np.zeros(fires.shape[1]), np.zeros(fires.shape[1])
    for point in range(fires.shape[1]):
        table = np.zeros((2, CLASSES))
        np.add.at(table, (fires[:, point].astype(int), data.label), 1)
        for sign, counts in ((1, table.sum(0)), (1, table.sum(1)), (-1, table.ravel())):
            p = counts[counts > 0] / n
            entropy = -(p * np.log2(p)).sum()
            raw[point] += sign * entropy
            corrected[point] += sign * (entropy + (len(p) - 1) / (2 * n * np.log(2)))
    return {
        "count": np.bincount(data.label, minlength=CLASSES),
        "raw": raw.reshape(data.x.shape[1:]),
        "corrected": corrected.reshape(data.x.shape[1:]),
    }


def accuracy_of(data: Data) -> dict[str, np.ndarray]:
    correct = data.prediction == data.label
    return {
        "count": np.asarray(len(correct)),
        "accuracy": np.asarray(correct.mean() if len(correct) else np.nan),
    }


def agreement_of(data: Data) -> dict[str, np.ndarray]:
    same = data.x.argmax(-1) == data.prediction
    return {"count": np.asarray(len(same)), "agreement": np.asarray(same.mean() if len(same) else np.nan)}


def confusion_of(data: Data) -> dict[str, np.ndarray]:
    count = np.zeros((CLASSES, CLASSES), int)
    np.add.at(count, (data.label, data.prediction), 1)
    return {"count": count}


def calibration_of(data: Data) -> dict[str, np.ndarray]:
    logits = data.logits.astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    confidence = (shares / shares.sum(-1, keepdims=True)).max(-1)
    correct = data.prediction == data.label
    edges = np.linspace(0, 1, 6)
    bins = [(confidence > low) & (confidence <= high) for low, high in itertools.pairwise(edges)]
    sure, right = (
        np.array([part[inside].mean() if inside.any() else np.nan for inside in bins])
        for part in (confidence, correct)
    )
    weight = np.array([inside.sum() for inside in bins])
    gaps = np.where(weight > 0, np.abs(sure - right), 0)
    some = len(confidence) > 0
    return {
        "count": weight,
        "confidence": sure,
        "accuracy": right,
        "ece": np.asarray((gaps * weight).sum() / len(confidence) if some else np.nan),
        "mce": np.asarray(gaps.max() if some else np.nan),
    }


def of_slopes(reference):
    return lambda data: reference(data._replace(x=data.gradient))


def of_products(reference):
    return lambda data: reference(data._replace(x=data.gradient * data.x))


SELECTIVE = {name: POINTWISE for name in ("index", "d_prime", "eta_squared")}
INFORMED = {name: (64 + CLASSES) * UNIT for name in ("raw", "corrected")}
CALIBRATED = {name: 20 * UNIT for name in ("confidence", "accuracy", "ece", "mce")}

CONTRACTS = {
    # Only here are no two class means equal, of which either may be preferred.
    "selectivity": Contract(
        *("selectivity", lambda: selectivity(CLASSES), selectivity_of),
        tolerance=SELECTIVE,
        absolute=SELECTIVE,
        values=("normal",),
    ),
    "per_channel(selectivity)": Contract(
        *("selectivity", lambda: per_channel(selectivity(CLASSES)), pooled(selectivity_of)),
        tolerance={name: POOLED for name in SELECTIVE},
        absolute={name: POOLED for name in SELECTIVE},
        values=("normal",),
    ),
    "mutual_information": Contract(
        *("mutual_information", lambda: mutual_information(CLASSES, threshold=0.5), information_of),
        absolute=INFORMED,
    ),
    "per_channel(mutual_information)": Contract(
        "mutual_information",
        lambda: per_channel(mutual_information(CLASSES, threshold=0.5)),
        pooled(information_of),
        absolute=INFORMED,
    ),
    "accuracy": Contract("accuracy", accuracy, accuracy_of, tolerance={"accuracy": 4 * UNIT}),
    "by_class(accuracy)": Contract(
        *("accuracy", lambda: by_class(accuracy(), CLASSES), for_each_class(accuracy_of)),
        tolerance={"accuracy": 4 * UNIT},
    ),
    "agreement": Contract(
        *("agreement", agreement, agreement_of), tolerance={"agreement": 4 * UNIT}, kinds=("vector",)
    ),
    "by_class(agreement)": Contract(
        *("agreement", lambda: by_class(agreement(), CLASSES), for_each_class(agreement_of)),
        tolerance={"agreement": 4 * UNIT},
        kinds=("vector",),
    ),
    "confusion": Contract("confusion", lambda: confusion(CLASSES), confusion_of),
    "calibration_error": Contract(
        *("calibration_error", lambda: calibration_error(bins=5), calibration_of), absolute=CALIBRATED
    ),
    "by_class(calibration_error)": Contract(
        "calibration_error",
        lambda: by_class(calibration_error(bins=5), CLASSES),
        for_each_class(calibration_of),
        absolute=CALIBRATED,
    ),
    "of_gradient(moments)": Contract("of_gradient", lambda: of_gradient(moments()), of_slopes(moments_of)),
    "of_gradient(per_channel(firing))": Contract(
        "of_gradient", lambda: of_gradient(per_channel(firing(threshold=0.5))), of_slopes(pooled(firing_of))
    ),
    "by_class(of_gradient(extrema))": Contract(
        "of_gradient",
        lambda: by_class(of_gradient(extrema()), CLASSES),
        for_each_class(of_slopes(extrema_of)),
    ),
    "per_channel(gradient_times_activation(moments))": Contract(
        "gradient_times_activation",
        lambda: per_channel(gradient_times_activation(moments())),
        pooled(of_products(moments_of)),
    ),
    "by_class(gradient_times_activation(extrema))": Contract(
        "gradient_times_activation",
        lambda: by_class(gradient_times_activation(extrema()), CLASSES),
        for_each_class(of_products(extrema_of)),
    ),
}
