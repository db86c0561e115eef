"""Update rules on quadratic losses, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..training_method import UpdateRow

CONTRACTS: dict = {}
"""No statistics."""


def plain(matrices, centres, params, rate):
    return matrices[0] @ (params - centres[0])


def mltp(weight, step_size=None, first_order=False):
    def reference(matrices, centres, params, rate):
        a = rate if step_size is None else step_size
        here = matrices[0] @ (params - centres[0])
        there = matrices[1] @ (params - a * here - centres[1])
        bent = there if first_order else (np.eye(len(params)) - a * matrices[0]) @ there
        return here + weight * bent

    return reference


METHODS = {
    "plain": UpdateRow("plain()", plain, refused=("plain(1)",)),
    "mltp": UpdateRow(
        "mltp()",
        mltp(1.0),
        ("gradient_cosine",),
        ("mltp(weight=-1.0)", "mltp(step_size=-0.1)", "mltp(first_order=1)"),
    ),
    "mltp first order": UpdateRow(
        "mltp(weight=0.5, first_order=True)", mltp(0.5, first_order=True), ("gradient_cosine",)
    ),
    "mltp half step": UpdateRow("mltp(weight=2.0, step_size=0.03)", mltp(2.0, 0.03), ("gradient_cosine",)),
}
