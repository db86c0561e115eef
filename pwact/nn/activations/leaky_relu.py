"""A rectifier that lets a little of the negative through."""

from __future__ import annotations

import functools

import jax

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def leaky_relu(slope: float = 0.01) -> Activation:
    """Passes what is positive, and a share of what is negative.

    y = x where x >= 0, else slope * x

    Args:
        slope: of the negative side.

    Returns:
        An activation without parameters; its site is named `leaky_relu`.

    Raises:
        PwactError: a slope that is no finite number.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import leaky_relu
        >>> leaky_relu(slope=0.25).make(1, nnx.Rngs(0))(jnp.array([-1.0, 2.0])).tolist()
        [-0.25, 2.0]

    Reference: A. L. Maas, A. Y. Hannun, A. Y. Ng, Rectifier nonlinearities improve neural network acoustic
        models, ICML 2013. Status: code (jax's).
    """
    slope = finite_number("slope", slope, "give the slope of the negative side")
    function = functools.partial(jax.nn.leaky_relu, negative_slope=slope)
    return Activation(lambda channels, rngs: function)
