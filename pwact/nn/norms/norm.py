"""What a norm is: something after a convolution, something done to its kernel, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flax import nnx


class Norm(NamedTuple):
    """How a convolution and its output are normalised.

    Args:
        layer: `layer(channels, rngs)` makes the module after the convolution, which keeps shape and type of
            [batch, row, column, channel]; None for no module.
        kernel: `kernel(shape, rngs)` makes the module that the kernel goes through whenever it is used, of
            the same shape and type, outputs last; None for kernels as they are.
        bias: whether the convolution keeps a bias of its own.
    """

    layer: Callable[[int, nnx.Rngs], Any] | None
    kernel: Callable[[tuple[int, ...], nnx.Rngs], Any] | None
    bias: bool
