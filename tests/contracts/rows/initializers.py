"""Initialisers, and the variance that their weights should have."""

from __future__ import annotations

import math

from ..training_method import InitializerRow

CONTRACTS: dict = {}
"""No statistics."""


def fan_in(shape):
    return math.prod(shape[:-1])


def fan_out(shape):
    return math.prod(shape[:-2]) * shape[-1]


METHODS = {
    "default": InitializerRow("default()", None, refused=("default(1)",)),
    "he_normal": InitializerRow("he_normal()", lambda shape: 2 / fan_in(shape)),
    "glorot_uniform": InitializerRow("glorot_uniform()", lambda shape: 2 / (fan_in(shape) + fan_out(shape))),
    "orthogonal": InitializerRow("orthogonal()", lambda shape: 1 / max(fan_in(shape), shape[-1])),
    "hcore": InitializerRow(
        "hcore(epochs=2, scale=0.0)",
        lambda shape: 2 / fan_in(shape),
        epochs=2,
        refused=("hcore(epochs=0)", "hcore(layers='conv')", "hcore(scale='a')", "hcore(shuffled=1)"),
    ),
}
