"""Losses, in plain NumPy."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from ..training_method import ObjectiveRow

CONTRACTS: dict = {}
"""No statistics."""


def cross_entropy(share):
    def reference(z, y, step):
        classes = z.shape[1]
        target = (1 - share) * np.eye(classes)[y] + share / classes
        return float(-(target * log_softmax(z, 1)).sum(1).mean()) if len(z) else 0.0

    return reference


def mean_square(scale):
    def reference(z, y, step):
        return float(((z - scale * np.eye(z.shape[1])[y]) ** 2).mean()) if len(z) else 0.0

    return reference


def gccs(mean, deviation, weight_at, full, minimum, epsilon=1e-4):
    """Class by class, with determinants and traces as they are written."""

    def reference(z, y, step):
        classes, found = z.shape[1], []
        for k in range(classes):
            own = z[y == k]
            if len(own) < (max(minimum, classes + 1) if full else minimum):
                continue
            centre = own.mean(0)
            covariance = np.cov(own.T, bias=True)
            if not full:
                covariance = np.diag(np.diag(covariance))
            variance = np.diag(covariance)
            determinant = np.linalg.det(covariance + epsilon * np.eye(classes))
            value = 0.5 * (
                np.trace(covariance) / deviation**2
                - classes
                - np.log(determinant / deviation ** (2 * classes))
                + ((centre - mean * np.eye(classes)[k]) ** 2).sum() / deviation**2
            )
            kurtosis = ((own - centre) ** 4).mean(0) / (variance + epsilon) ** 2
            found.append(value + weight_at(step) * ((kurtosis - 3) ** 2).mean())
        return float(np.mean(found)) if found else 0.0

    return reference


METHODS = {
    "cross_entropy": ObjectiveRow(
        "cross_entropy()",
        cross_entropy(0.0),
        refused=("cross_entropy(label_smoothing=1.5)", "cross_entropy(label_smoothing='0')"),
    ),
    "cross_entropy smoothed": ObjectiveRow("cross_entropy(label_smoothing=0.1)", cross_entropy(0.1)),
    "mean_square": ObjectiveRow(
        "mean_square(scale=3.0)", mean_square(3.0), refused=("mean_square(scale=0)", "mean_square(0, 1)")
    ),
    "gccs": ObjectiveRow(
        "gccs(mean=5.0, deviation=2.0, ramp=(10, 20))",
        gccs(5.0, 2.0, lambda step: 0.1 * min(max((step - 10) / 10, 0), 1), False, 4),
        step=13,
        relative=1e-4,  # fourth powers, and their quotient
        refused=(
            "gccs(mean=0.0)",
            "gccs(deviation=-1.0)",
            "gccs(kurtosis=-0.1)",
            "gccs(ramp=(5, 2))",
            "gccs(ramp=(0.5, 2))",
            "gccs(ramp=3)",
            "gccs(covariance='dense')",
            "gccs(minimum=1)",
            "gccs(epsilon=0.0)",
        ),
    ),
    "gccs full": ObjectiveRow(
        "gccs(ramp=(0, 0), covariance='full', minimum=2)",
        gccs(10.0, 1.0, lambda step: 0.1, True, 2),
        relative=1e-4,
    ),
}
