"""No activation function."""

from __future__ import annotations

from typing import Any

from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def linear() -> Activation:
    """Leaves everything as it is, for controls without a bend.

    y = x

    Returns:
        An activation without parameters and without a site.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import linear
        >>> linear().make(1, nnx.Rngs(0))(jnp.array([-1.0, 2.0])).tolist()
        [-1.0, 2.0]

    Source: ours. Status: code.
    """
    return Activation(lambda channels, rngs: _same)


def _same(x: Any) -> Any:
    return x
