"""Kernels whose variance suits both directions."""

from __future__ import annotations

from typing import Any

import jax

from pwact.core.caching import memoized
from pwact.initializers.initializer import Initializer
from pwact.initializers.kernels import redrawn


@memoized
def glorot_uniform() -> Initializer:
    """Draws every kernel evenly, so that neither activations nor gradients grow through linear layers.

    w ~ U(-b, b),   b = sqrt(6 / (fan_in + fan_out))

    With k*k kernels fan_in is k*k times the channels in, fan_out k*k times those out.

    Returns:
        An initialiser; everything but kernels (arrays of two axes or more) stays as the model drew it.

    Raises:
        Nothing.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.initializers import glorot_uniform
        >>> params = {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.zeros(32)}
        >>> drawn = glorot_uniform().draw(jax.random.key(0), params)
        >>> bool(jnp.abs(drawn["kernel"]).max() <= (6 / (9 * 48)) ** 0.5)
        True

    Reference: X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010.
        Status: abstract (the formula is common knowledge; drawn by jax.nn.initializers).
    """
    method = jax.nn.initializers.glorot_uniform()

    def draw(key: Any, params: Any) -> Any:
        return redrawn(key, params, lambda own, kernel: method(own, kernel.shape, kernel.dtype))

    return Initializer(draw)
