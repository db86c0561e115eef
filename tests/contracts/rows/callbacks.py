"""Callbacks on one kernel, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..training_method import CallbackRow

CONTRACTS: dict = {}
"""No statistics."""


def gradual_pruning(sparsity, begin, end):
    def reference(changes):
        kernel, steps, found = changes[0], len(changes) - 1, []
        pruned = np.zeros(kernel.shape, bool)
        for step in range(steps):
            kernel = kernel + changes[step + 1]
            gone = min(max(((step + 1) / steps - begin) / (end - begin), 0), 1)
            count = round(sparsity * (1 - (1 - gone) ** 3) * kernel.size)
            order = np.argsort(np.where(pruned, -1, np.abs(kernel)), axis=None)
            pruned.ravel()[order[:count]] = True
            kernel = np.where(pruned, 0, kernel)
            found.append(kernel)
        return found

    return reference


def max_norm(limit):
    def reference(changes):
        kernel, found = changes[0], []
        for change in changes[1:]:
            kernel = kernel + change
            lengths = np.sqrt((kernel**2).sum(tuple(range(kernel.ndim - 1))))
            kernel = kernel * np.minimum(1, limit / lengths)
            found.append(kernel)
        return found

    return reference


METHODS = {
    "gradual_pruning": CallbackRow(
        "gradual_pruning(0.75)",
        gradual_pruning(0.75, 0.0, 1.0),
        (
            "gradual_pruning(1.0)",
            "gradual_pruning(-0.1)",
            "gradual_pruning(0.5, begin=0.6, end=0.4)",
            "gradual_pruning(0.5, end=1.1)",
            "gradual_pruning()",
        ),
    ),
    "gradual_pruning in part": CallbackRow(
        "gradual_pruning(0.5, begin=0.25, end=0.75)", gradual_pruning(0.5, 0.25, 0.75)
    ),
    "max_norm": CallbackRow("max_norm(1.5)", max_norm(1.5), ("max_norm(0.0)", "max_norm('a')")),
}
