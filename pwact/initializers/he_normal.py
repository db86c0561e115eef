"""Kernels whose variance suits ReLUs."""

from __future__ import annotations

from typing import Any

import jax

from pwact.core.caching import memoized
from pwact.initializers.initializer import Initializer
from pwact.initializers.kernels import redrawn


@memoized
def he_normal() -> Initializer:
    """Draws every kernel so that a layer of ReLUs keeps the mean square of what goes in.

    w ~ N(0, 2 / fan_in), cut at two deviations and widened to that variance

    fan_in is the product of all axes but the last.

    Returns:
        An initialiser; everything but kernels (arrays of two axes or more) stays as the model drew it.

    Raises:
        Nothing.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.initializers import he_normal
        >>> params = {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.zeros(32)}
        >>> drawn = he_normal().draw(jax.random.key(0), params)
        >>> bool(jnp.abs(drawn["kernel"].var() * 9 * 16 / 2 - 1) < 0.1)
        True

    Reference: K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers, ICCV 2015.
        Status: abstract (the formula is common knowledge; drawn by jax.nn.initializers).
    """
    method = jax.nn.initializers.he_normal()

    def draw(key: Any, params: Any) -> Any:
        return redrawn(key, params, lambda own, kernel: method(own, kernel.shape, kernel.dtype))

    return Initializer(draw)
