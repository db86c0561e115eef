"""Pooling over square windows that do not overlap."""

from __future__ import annotations

from typing import Literal

from flax import nnx
from jaxtyping import Array, Float


class Pool(nnx.Module):
    """The maximum or mean of each size x size window; rows and columns that fill no window are dropped.

    Args:
        kind: `max` or `average`.
        size: rows and columns of a window.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.nn import Pool
        >>> Pool("max", 2)(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, ..., 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    def __init__(self, kind: Literal["max", "average"], size: int):
        self.kind = kind
        self.size = size

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch out_row out_column channel"]:
        batch, rows, columns, channels = x.shape
        rows, columns = rows // self.size, columns // self.size
        # A reshape, not lax.reduce_window: its gradient is fast inside scan on CPU.
        x = x[:, : rows * self.size, : columns * self.size]
        x = x.reshape(batch, rows, self.size, columns, self.size, channels)
        return x.max((2, 4)) if self.kind == "max" else x.mean((2, 4))
