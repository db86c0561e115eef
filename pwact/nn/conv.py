"""Convolution with one set of variables and two programs."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

Form = Literal["lax", "slices"]


class Conv(nnx.Module):
    """2-D convolution, SAME padding, channels last.

        y[r, c, o] = bias[o] + sum over i, j, k of kernel[i, j, k, o] * x_padded[s r + i, s c + j, k]

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: rows and columns of the kernel.
        stride: step between outputs, in both directions.
        use_bias: whether a bias is added.
        form: the program, not the mathematics: `lax` is XLA's convolution; `slices` is kernel_size^2 shifted
            slices and one matrix product, which trains fast inside `scan` and `vmap`. Variables fit both.
        rngs: where the kernel's initial values come from (He, truncated normal).

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn import Conv
        >>> Conv(3, 8, 3, stride=2, rngs=nnx.Rngs(0))(jnp.zeros((2, 9, 9, 3))).shape
        (2, 5, 5, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        use_bias: bool = True,
        form: Form = "lax",
        rngs: nnx.Rngs,
    ):
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        self.kernel = nnx.Param(jax.nn.initializers.he_normal()(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32)) if use_bias else None
        self.stride = stride
        self.form = form

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch out_row out_column out_channel"]:
        convolve = _lax if self.form == "lax" else _slices
        kernel = self.kernel[...]
        y = convolve(x.astype(kernel.dtype), kernel, self.stride)
        return y if self.bias is None else y + self.bias[...].reshape(1, 1, 1, -1)


def _lax(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _slices(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size, _, channels, outputs = kernel.shape
    window, strides = (size, size), (stride, stride)
    rows, columns = (-(-length // stride) for length in x.shape[1:3])
    margin = lax.padtype_to_pads(x.shape[1:3], window, strides, "SAME")
    x = jnp.pad(x, ((0, 0), *margin, (0, 0)))
    reach = stride * (rows - 1) + 1, stride * (columns - 1) + 1
    # Indexing with a step would be a gather, whose gradient is slow.
    patches = [
        lax.slice(x, (0, i, j, 0), (len(x), i + reach[0], j + reach[1], x.shape[3]), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]
    stacked = patches[0] if size == 1 else jnp.concatenate(patches, -1)
    return stacked @ kernel.reshape(size * size * channels, outputs)
