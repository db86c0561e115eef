"""Convolution with one set of variables and two programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from pwact.errors import PwactError
from pwact.nn.unmarked import unmarked_call

Form = Literal["lax", "slices"]
Padding = Literal["same", "symmetric"]


class Conv(nnx.Module):
    """2-D convolution, channels last. Rows and columns come out as ceil(length / stride).

        y[r, c, o] = bias[o] + sum over i, j, k of kernel[i, j, k, o] * x_padded[s r + i, s c + j, k]

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: rows and columns of the kernel.
        stride: step between outputs, in both directions.
        padding: `same` is TensorFlow's, which at a stride above 1 may add a zero less at the top and the left
            than at the other ends; `symmetric` adds (kernel_size - 1) / 2 at each end, as PyTorch models do,
            and takes odd kernels.
        use_bias: whether a bias is added.
        kernel_norm: makes the module that the kernel goes through before it is used (`pwact.nn.norms.Norm`).
        form: the program, not the mathematics: `lax` is XLA's convolution; `slices` is kernel_size^2 shifted
            slices and one matrix product, which trains fast inside `scan` and `vmap`. Variables fit both.
        rngs: where the kernel's initial values come from (He, truncated normal).

    Raises:
        PwactError: an even kernel with `symmetric` padding.

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
        padding: Padding = "same",
        use_bias: bool = True,
        kernel_norm: Callable[[tuple[int, ...], nnx.Rngs], Any] | None = None,
        form: Form = "lax",
        rngs: nnx.Rngs,
    ):
        if padding == "symmetric" and kernel_size % 2 == 0:
            raise PwactError("an odd kernel_size for symmetric padding", f"{kernel_size}", "pick an odd one")
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        self.kernel = nnx.Param(jax.nn.initializers.he_normal()(rngs.params(), shape, jnp.float32))
        self.kernel_norm = None if kernel_norm is None else kernel_norm(shape, rngs)
        self.norm_call = unmarked_call(self.kernel_norm)
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32)) if use_bias else None
        self.stride = stride
        self.padding = padding
        self.form = form

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch out_row out_column out_channel"]:
        convolve = _lax if self.form == "lax" else _slices
        kernel = self.kernel[...]
        if self.kernel_norm is not None:
            kernel = self.norm_call(self.kernel_norm, kernel)
        # What comes before may have a wider type than the kernel, as a norm's running moments do.
        y = convolve(x.astype(kernel.dtype), kernel, self.stride, self.padding)
        return y if self.bias is None else y + self.bias[...].reshape(1, 1, 1, -1)


def _lax(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    margin = "SAME" if padding == "same" else [(kernel.shape[0] // 2,) * 2] * 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), margin, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _slices(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    size, _, channels, outputs = kernel.shape
    return patches(x, size, stride, padding) @ kernel.reshape(size * size * channels, outputs)


def patches(
    x: Float[Array, "batch row column channel"], size: int, stride: int, padding: Padding = "same"
) -> Float[Array, "batch out_row out_column patch"]:
    """What a convolution sees at each point: `size` rows of `size` columns of all channels, in a row.

    Example:
        >>> patches(jnp.arange(9.0).reshape(1, 3, 3, 1), 3, 1)[0, 0, 0].tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 4.0]
    """
    window, strides = (size, size), (stride, stride)
    rows, columns = (-(-length // stride) for length in x.shape[1:3])
    margin = [(size // 2,) * 2] * 2
    if padding == "same":
        margin = lax.padtype_to_pads(x.shape[1:3], window, strides, "SAME")
    x = jnp.pad(x, ((0, 0), *margin, (0, 0)))
    reach = stride * (rows - 1) + 1, stride * (columns - 1) + 1
    # Indexing with a step would be a gather, whose gradient is slow.
    parts = [
        lax.slice(x, (0, i, j, 0), (len(x), i + reach[0], j + reach[1], x.shape[3]), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]
    return parts[0] if size == 1 else jnp.concatenate(parts, -1)
