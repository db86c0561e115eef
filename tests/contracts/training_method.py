"""What a row of a training method's contract table is, one kind for each door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class ObjectiveRow(NamedTuple):
    """`text`: what a recipe holds. `reference`: (outputs f64 [image, class], label, step) -> the loss.

    `step`: at which it is looked at. `relative`: of value and gradient; rounding of sums over a batch.
    `refused`: texts that raise `PwactError`.
    """

    text: str
    reference: Callable[[np.ndarray, np.ndarray, int], float]
    step: int = 0
    relative: float = 1e-5
    refused: tuple[str, ...] = ()


class RegularizerRow(NamedTuple):
    """`reference`: kernel f64 -> (value, gradient); of a transformation, value None and the added update."""

    text: str
    reference: Callable[[np.ndarray], tuple[float | None, np.ndarray]]
    refused: tuple[str, ...] = ()


class UpdateRow(NamedTuple):
    """`reference`: (matrices, centres, params, learning rate) -> the gradient, for losses
    1/2 (p - centre_i)' matrix_i (p - centre_i) of batches i, in float64. `logs`: names of what it logs."""

    text: str
    reference: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
    logs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class InitializerRow(NamedTuple):
    """`variance`: kernel's shape -> that of its weights; None where the model's own stay.

    `epochs`: of training before.
    """

    text: str
    variance: Callable[[tuple[int, ...]], float] | None
    epochs: int = 0
    refused: tuple[str, ...] = ()


class CallbackRow(NamedTuple):
    """`reference`: changes f64 [step + 1, ...] -> the kernel after each step.

    `changes[0]` is the kernel before the first step, `changes[t]` what the optimizer adds in step t - 1.
    """

    text: str
    reference: Callable[[np.ndarray], list[np.ndarray]]
    refused: tuple[str, ...] = ()


Row: Any = ObjectiveRow | RegularizerRow | UpdateRow | InitializerRow | CallbackRow
