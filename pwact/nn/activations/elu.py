"""The exponential linear unit."""

from __future__ import annotations

import jax

from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def elu() -> Activation:
    """Passes what is positive and bends what is negative towards -1.

    y = x where x > 0, else exp(x) - 1

    Returns:
        An activation without parameters; its site is named `elu`.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import elu
        >>> elu().make(1, nnx.Rngs(0))(jnp.array([-1.0, 2.0])).round(3).tolist()
        [-0.632..., 2.0]

    Reference: D.-A. Clevert, T. Unterthiner, S. Hochreiter, Fast and accurate deep network learning by
        exponential linear units (ELUs), ICLR 2016. Status: code (jax's).
    """
    return Activation(lambda channels, rngs: jax.nn.elu)
