"""Regularisers, in plain NumPy: value and gradient for one kernel."""

from __future__ import annotations

import numpy as np

from ..training_method import RegularizerRow

CONTRACTS: dict = {}
"""No statistics."""


def norm_loss(weight, decoupled=False):
    def reference(kernel):
        lengths = np.sqrt((kernel**2).sum(tuple(range(kernel.ndim - 1))))
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(lengths > 0, 2 * weight * (1 - 1 / lengths) * kernel, 0)
        return None if decoupled else float(weight * ((1 - lengths) ** 2).sum()), slope

    return reference


METHODS = {
    "l2": RegularizerRow(
        "l2(0.3)", lambda kernel: (0.15 * float((kernel**2).sum()), 0.3 * kernel), ("l2(-1)", "l2('a')")
    ),
    "l1": RegularizerRow(
        "l1(0.3)",
        lambda kernel: (0.3 * float(np.abs(kernel).sum()), 0.3 * np.sign(kernel)),
        ("l1(-1)", "l1()"),
    ),
    "norm_loss": RegularizerRow(
        "norm_loss(0.3)", norm_loss(0.3), ("norm_loss(-0.1)", "norm_loss(0.1, decoupled=1)")
    ),
    "norm_loss decoupled": RegularizerRow("norm_loss(0.3, decoupled=True)", norm_loss(0.3, True)),
}
