"""A rectifier that learns how much of the negative it lets through."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def prelu(slope: float = 0.25) -> Activation:
    """Passes what is positive, and of what is negative a share that each channel learns.

    y = x where x >= 0, else slope_c * x

    Args:
        slope: of every channel at first.

    Returns:
        An activation with the variable `slope` [channel]; its site is named `activation`.

    Raises:
        PwactError: a slope that is no finite number.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import prelu
        >>> prelu().make(1, nnx.Rngs(0))(jnp.array([[-1.0], [2.0]])).ravel().tolist()
        [-0.25, 2.0]

    Reference: K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers: surpassing human-level
        performance on ImageNet classification, ICCV 2015. Status: abstract.
    """
    slope = finite_number("slope", slope, "give the slope that channels begin with")
    return Activation(lambda channels, rngs: PReLU(channels, slope))


class PReLU(nnx.Module):
    """The module of `prelu`."""

    def __init__(self, channels: int, slope: float):
        self.slope = nnx.Param(jnp.full(channels, slope, jnp.float32))

    def __call__(self, x: Float[Array, "*points channel"]) -> Float[Array, "*points channel"]:
        slope = self.slope[...].astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return jnp.where(x >= 0, x, slope * x)
