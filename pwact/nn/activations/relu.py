"""The rectifier."""

from __future__ import annotations

import jax

from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def relu() -> Activation:
    """Passes what is positive.

    y = max(x, 0)

    Returns:
        An activation without parameters; its site is named `relu`.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import relu
        >>> relu().make(1, nnx.Rngs(0))(jnp.array([-1.0, 2.0])).round(3).tolist()
        [0.0, 2.0]

    Reference: V. Nair, G. E. Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.
        Status: code (jax's).
    """
    return Activation(lambda channels, rngs: jax.nn.relu)
