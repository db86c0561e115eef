"""Norms, in plain NumPy and float64."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
import scipy.stats

from ..layer_method import NormRow

CONTRACTS: dict = {}
"""No statistics."""


def standardised(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def batch(x):
    return standardised(x, (0, 1, 2), 1e-5)


def group(x):
    batch, rows, columns, channels = x.shape
    groups = math.gcd(channels, 8)
    parts = x.reshape(batch, rows, columns, groups, channels // groups)
    return standardised(parts, (1, 2, 4), 1e-6).reshape(x.shape)


def layer(x):
    return standardised(x, (3,), 1e-6)


def bnsr(x):
    """The ratio by a root finder on the skewness that scipy measures, not by the module's polynomial."""
    y = np.empty_like(x)
    for channel in range(x.shape[-1]):
        z = batch(x[..., [channel]]).ravel()

        def bent(ratio, z=z):
            return np.where(z > 0, ratio * z, z)

        ratio = scipy.optimize.brentq(lambda r: scipy.stats.skew(bent(r)), 0.1, 10, xtol=1e-13)
        u = bent(ratio)
        y[..., channel] = ((u - u.mean()) / u.std() * z.std()).reshape(x.shape[:-1])
    return y


def weight_align(gain):
    def reference(kernel):
        """`torch`'s weight standardisation as others write it, times gain / sqrt(n)."""
        rows = kernel.reshape(-1, kernel.shape[-1]).T
        out = np.empty_like(rows)
        for filter_number, row in enumerate(rows):
            n = len(row)
            out[filter_number] = (row - row.sum() / n) / math.sqrt(
                n / gain**2 * (((row - row.sum() / n) ** 2).sum() / n) + 1e-5
            )
        return out.T.reshape(kernel.shape)

    return reference


HE, CENTRED = math.sqrt(2), math.sqrt(2 / (1 - 1 / math.pi))

METHODS = {
    "none": NormRow("none()", None, None, True, True, refused=("none(1)",)),
    "batch": NormRow("batch()", batch, None, False, False),
    "group": NormRow("group()", group, None, False, True),
    "layer": NormRow("layer()", layer, None, False, True),
    "bnsr": NormRow(
        "bnsr()",
        bnsr,
        None,
        False,
        False,
        # The root of a third moment that is known to some 1e-6.
        absolute=2e-5,
        refused=(
            "bnsr(epsilon=0.0)",
            "bnsr(momentum=1.1)",
            "bnsr(momentum=-0.1)",
            "bnsr(min_count=0)",
            "bnsr(min_count=1.5)",
            "bnsr(implicit=1)",
            "bnsr(epsilon='small')",
        ),
    ),
    "bnsr of too few": NormRow("bnsr(min_count=100000)", batch, None, False, False),
    "weight_align": NormRow(
        "weight_align()",
        None,
        weight_align(HE),
        True,
        True,
        refused=("weight_align('xavier')", "weight_align(epsilon=-1e-5)", "weight_align(epsilon='a')"),
    ),
    "weight_align centred": NormRow("weight_align('centred')", None, weight_align(CENTRED), True, True),
    "stack": NormRow(
        "stack(weight_align(), batch())",
        batch,
        weight_align(HE),
        False,
        False,
        refused=("stack(weight_align(), 3)", "stack('batch', 'batch')", "stack(batch())"),
    ),
    "stack of four": NormRow(
        "stack(stack(weight_align('unit'), weight_align()), stack(batch(), layer()))",
        lambda x: layer(batch(x)),
        lambda kernel: weight_align(HE)(weight_align(1)(kernel)),
        False,
        False,
    ),
}
