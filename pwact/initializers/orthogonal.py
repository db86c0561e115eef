"""Kernels with orthonormal columns."""

from __future__ import annotations

from typing import Any

import jax

from pwact.core.caching import memoized
from pwact.initializers.initializer import Initializer
from pwact.initializers.kernels import redrawn


@memoized
def orthogonal() -> Initializer:
    """Draws every kernel as a random orthogonal matrix.

    W'W = I for W of fan_in rows and as many columns as outputs, or WW' = I where it is wider than high

    A convolution's kernel is that matrix with its rows folded.

    Returns:
        An initialiser; everything but kernels (arrays of two axes or more) stays as the model drew it.

    Raises:
        Nothing.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.initializers import orthogonal
        >>> params = {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.zeros(32)}
        >>> drawn = orthogonal().draw(jax.random.key(0), params)
        >>> kernel = drawn["kernel"].reshape(-1, 32)
        >>> bool(jnp.allclose(kernel.T @ kernel, jnp.eye(32), atol=1e-5))
        True

    Reference: A. Saxe, J. McClelland, S. Ganguli, Exact solutions to the nonlinear dynamics of learning in
        deep linear neural networks, ICLR 2014.
        Status: abstract (the formula is common knowledge; drawn by jax.nn.initializers).
    """
    method = jax.nn.initializers.orthogonal()

    def draw(key: Any, params: Any) -> Any:
        return redrawn(key, params, lambda own, kernel: method(own, kernel.shape, kernel.dtype))

    return Initializer(draw)
