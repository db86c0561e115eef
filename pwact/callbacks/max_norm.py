"""No filter longer than a limit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from pwact.callbacks.callback import Callback
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError


@memoized
def max_norm(limit: float) -> Callback:
    """Shortens the weights into an output to a limit after every step, where they are longer.

    w_o <- w_o * min(1, limit / |w_o|)   over every axis of a kernel but the last

    Args:
        limit: of the length; above 0; 3 or 4 with dropout in the paper.

    Returns:
        A callback on kernels (arrays of two axes or more), without state.

    Raises:
        PwactError: a limit that is not above 0.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.callbacks import max_norm
        >>> step, steps, key = jnp.int32(0), jnp.int32(9), jax.random.key(0)
        >>> params = {"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]])}
        >>> max_norm(1.0).update((), params, step, steps, key)[1]["kernel"].round(3).tolist()
        [[0.6..., 0.3...], [0.8..., 0.4...]]

    Reference: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout: a simple way
        to prevent neural networks from overfitting, JMLR 15 (2014), section 5.1. Status: abstract (the
        formula is common knowledge).
    """
    limit = finite_number("limit", limit, "give the greatest length of a filter")
    if limit <= 0:
        raise PwactError("limit above 0", repr(limit), "give the greatest length of a filter")

    def shorten(leaf: Array) -> Array:
        if leaf.ndim < 2:
            return leaf
        length = jnp.sqrt(jnp.sum(leaf * leaf, tuple(range(leaf.ndim - 1)), keepdims=True))
        return leaf * jnp.where(length > limit, limit / jnp.maximum(length, limit), 1)

    def update(
        state: tuple[()], params: Any, step: Int[Array, ""], steps: Int[Array, ""], key: Any
    ) -> tuple[tuple[()], Any]:
        return state, jax.tree.map(shorten, params)

    return Callback(lambda params: (), update, "step")
