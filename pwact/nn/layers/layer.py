"""What a layer is: the part of a block that looks at a patch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Layer(NamedTuple):
    """What a block begins with.

    Args:
        make: `make(in_channels, out_channels, kernel_size, *, stride, use_bias, kernel_norm, form, rngs)`
            makes the module, which maps [batch, row, column, in] to [batch, ceil(row / stride), ceil(column /
            stride), out]. Its weights are named `kernel`, outputs last, and go through `kernel_norm(shape,
            rngs)` unless that is None (`pwact.nn.norms.Norm`); `form` is as in `pwact.nn.Conv`.
    """

    make: Callable[..., Any]
