"""The convolution's quadratic sister: each output is a quadratic form of its patch."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.nn.conv import Form, patches
from pwact.nn.layers.layer import Layer
from pwact.nn.unmarked import unmarked_call


@memoized
def quadratic(sign: float = -1.0) -> Layer:
    """Every output is a full quadratic form of its patch: squares, products, linear terms and a constant.

    y_f = sign * z' Q_f z,   z = [patch; 1] of D = kernel_size^2 * in_channels + 1 entries

    Only (Q_f + Q_f') / 2 matters; all D^2 entries are kept, D^2 parameters an output. The bias is the entry
    Q_f[D, D], so there is no other. The mean of y over any data is sign * trace(Q_f E[z z']).

    Args:
        sign: 1 or -1; which of the two is negative matters to what follows.

    Returns:
        A layer with the variable `kernel` [D, D, output], drawn uniformly in +-sqrt(3 / (output * D)); a
        patch is ordered by row, column, channel.

    Raises:
        PwactError: another sign.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.layers import quadratic
        >>> module = quadratic(sign=1.0).make(
        ...     1, 1, 1, stride=1, use_bias=True, kernel_norm=None, form="lax", rngs=nnx.Rngs(0)
        ... )
        >>> module.kernel[...] = jnp.array([[2.0, 1.0], [0.0, 5.0]])[..., None]  # 2 x^2 + x + 5
        >>> module(jnp.full((1, 1, 1, 1), 3.0)).item()
        26.0

    Reference: P. Mantini, S. K. Shah, CQNN: convolutional quadratic neural networks, ICPR 2020. Status: code
        (sign, shapes and initial values as in the authors' program).
    """
    sign = finite_number("sign", sign, "give 1 or -1")
    if sign not in (-1, 1):
        raise PwactError("sign as 1 or -1", repr(sign), "give 1 or -1")
    return Layer(functools.partial(Quadratic, sign=sign))


class Quadratic(nnx.Module):
    """The module of `quadratic`; arguments are those of `Layer.make`.

    `use_bias` and `form` change nothing: the constant is part of the form, and the program is that of
    `slices` always.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        sign: float,
        stride: int,
        use_bias: bool,
        kernel_norm: Callable[[tuple[int, ...], nnx.Rngs], Any] | None,
        form: Form,
        rngs: nnx.Rngs,
    ):
        length = kernel_size**2 * in_channels + 1
        shape, limit = (length, length, out_channels), math.sqrt(3 / (out_channels * length))
        self.kernel = nnx.Param(jax.random.uniform(rngs.params(), shape, jnp.float32, -limit, limit))
        self.kernel_norm = None if kernel_norm is None else kernel_norm(shape, rngs)
        self.norm_call = unmarked_call(self.kernel_norm)
        self.kernel_size, self.stride, self.sign = kernel_size, stride, sign

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch out_row out_column out_channel"]:
        kernel = self.kernel[...]
        if self.kernel_norm is not None:
            kernel = self.norm_call(self.kernel_norm, kernel)
        z = patches(x.astype(kernel.dtype), self.kernel_size, self.stride)
        z = jnp.concatenate([z, jnp.ones_like(z[..., :1])], -1)
        length, _, outputs = kernel.shape
        half = (z @ kernel.reshape(length, length * outputs)).reshape(*z.shape, outputs)
        return self.sign * (z[..., None] * half).sum(-2)
