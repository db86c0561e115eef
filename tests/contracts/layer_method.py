"""What a row of the contract table of norms, layers, activations and edits is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class NormRow(NamedTuple):
    """`layer`: (x f64 [batch, row, column, channel]) -> y of a new module in training, or None.

    `kernel`: kernel f64 -> the kernel that is used; None where it is used as it is. `bias`: whether the
    convolution keeps its own. `alone`: whether an image is normalised the same whatever else is in the batch,
    in training. `absolute`: of y, which is of order 1. `refused`: texts that raise `PwactError`.
    """

    text: str
    layer: Callable[[np.ndarray], np.ndarray] | None
    kernel: Callable[[np.ndarray], np.ndarray] | None
    bias: bool
    alone: bool
    absolute: float = 2e-6
    refused: tuple[str, ...] = ()


class LayerRow(NamedTuple):
    """`reference`: (kernel f64, patches f64 [..., patch] by row, column, channel) -> y f64 without bias.

    `kernel`: (patch, outputs) -> the kernel's shape without regard to rows and columns: its size.
    """

    text: str
    reference: Callable[[np.ndarray, np.ndarray], np.ndarray]
    kernel: Callable[[int, int], int]
    refused: tuple[str, ...] = ()


class ActivationRow(NamedTuple):
    """`reference`: x f64 -> y. `params`: names and shapes for 3 channels. `site`: its name in a block."""

    text: str
    reference: Callable[[np.ndarray], np.ndarray]
    params: dict[str, tuple[int, ...]]
    site: str | None
    refused: tuple[str, ...] = ()


class EditRow(NamedTuple):
    """`reference`: x f64 -> y; None where it is random, then `kept`: the share that stays, and by what these
    are multiplied. `evaluation`: whether it also acts there."""

    text: str
    reference: Callable[[np.ndarray], np.ndarray] | None
    evaluation: bool
    kept: tuple[float, float] | None = None
    refused: tuple[str, ...] = ()


Row: Any = NormRow | LayerRow | ActivationRow | EditRow
