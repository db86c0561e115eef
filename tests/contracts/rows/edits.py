"""Edits of activations, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..layer_method import EditRow

CONTRACTS: dict = {}
"""No statistics."""


def max_dropout(rate, axes):
    """Entry by entry, from the definition."""

    def reference(x):
        y = np.zeros_like(x)
        low, high = (
            np.broadcast_to(find(x, axes(x.ndim), keepdims=True), x.shape) for find in (np.min, np.max)
        )
        for place in np.ndindex(*x.shape):
            width = high[place] - low[place]
            height = (x[place] - low[place]) / width if width > 0 else 0.0
            if height <= 1 - rate:
                y[place] = x[place]
        return y

    return reference


def everything(rank):
    return tuple(range(rank))


METHODS = {
    "dropout": EditRow(
        "dropout(rate=0.25)",
        None,
        False,
        (0.75, 1 / 0.75),
        refused=("dropout(1.0)", "dropout(-0.1)", "dropout('a')", "dropout()"),
    ),
    "dropout of nothing": EditRow("dropout(0.0)", lambda x: x, False),
    "max_dropout": EditRow(
        "max_dropout()",
        max_dropout(0.3, everything),
        False,
        refused=(
            "max_dropout(1.1)",
            "max_dropout(-0.1)",
            "max_dropout(rate='a')",
            "max_dropout(scope='image')",
            "max_dropout(active_at_eval=1)",
        ),
    ),
    "max_dropout of samples": EditRow(
        "max_dropout(0.5, scope='sample')", max_dropout(0.5, lambda rank: everything(rank)[1:]), False
    ),
    "max_dropout of channels": EditRow(
        "max_dropout(0.5, scope='channel', active_at_eval=True)",
        max_dropout(0.5, lambda rank: everything(rank)[:-1]),
        True,
    ),
    "max_dropout of nothing": EditRow("max_dropout(0.0)", lambda x: x, False),
}
