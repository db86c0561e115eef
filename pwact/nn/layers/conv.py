"""The convolution."""

from __future__ import annotations

from pwact.core.caching import memoized
from pwact.nn.conv import Conv
from pwact.nn.layers.layer import Layer


@memoized
def conv() -> Layer:
    """A linear convolution; rows and columns are filled up with zeros.

    y[r, c, o] = bias[o] + sum over i, j, k of kernel[i, j, k, o] * x_padded[s r + i, s c + j, k]

    Returns:
        A layer that makes `pwact.nn.Conv`.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.layers import conv
        >>> module = conv().make(
        ...     1, 4, 3, stride=2, use_bias=True, kernel_norm=None, form="lax", rngs=nnx.Rngs(0)
        ... )
        >>> module(jnp.zeros((2, 9, 9, 1))).shape
        (2, 5, 5, 4)

    Reference: Y. LeCun et al., Backpropagation applied to handwritten zip code recognition, Neural
        Computation 1 (1989). Status: code.
    """
    return Layer(Conv)
