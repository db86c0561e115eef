"""Layers and activation functions, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..layer_method import ActivationRow, LayerRow

CONTRACTS: dict = {}
"""No statistics."""


def conv(kernel, patches):
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def quadratic(sign):
    def reference(kernel, patches):
        y = np.empty((*patches.shape[:-1], kernel.shape[-1]))
        for place in np.ndindex(*patches.shape[:-1]):
            z = [*patches[place], 1.0]
            for f in range(kernel.shape[-1]):
                y[(*place, f)] = sign * sum(
                    z[i] * kernel[i, j, f] * z[j] for i in range(len(z)) for j in range(len(z))
                )
        return y

    return reference


METHODS = {
    "conv": LayerRow("conv()", conv, lambda patch, outputs: patch * outputs, refused=("conv(3)",)),
    "quadratic": LayerRow(
        "quadratic()",
        quadratic(-1),
        lambda patch, outputs: (patch + 1) ** 2 * outputs,
        refused=("quadratic(2.0)", "quadratic('minus')", "quadratic(0.0)"),
    ),
    "quadratic upwards": LayerRow(
        "quadratic(sign=1.0)", quadratic(1), lambda patch, outputs: (patch + 1) ** 2 * outputs
    ),
}


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "relu": ActivationRow("relu()", lambda x: np.maximum(x, 0), {}, "relu", refused=("relu(1)",)),
    "elu": ActivationRow("elu()", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), {}, "elu"),
    "gelu": ActivationRow("gelu()", gelu, {}, "gelu"),
    "leaky_relu": ActivationRow(
        "leaky_relu(0.1)",
        lambda x: np.where(x >= 0, x, 0.1 * x),
        {},
        "leaky_relu",
        refused=("leaky_relu('a')",),
    ),
    "prelu": ActivationRow(
        "prelu()",
        lambda x: np.where(x >= 0, x, 0.25 * x),
        {"slope": (3,)},
        "activation",
        refused=("prelu(slope='a')",),
    ),
    "linear": ActivationRow("linear()", lambda x: x, {}, None),
}
