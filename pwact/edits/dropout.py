"""Entries at random are zeroed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.edits.edit import Edit
from pwact.errors import PwactError


@memoized
def dropout(rate: float = 0.5) -> Edit:
    """Zeroes each entry with probability `rate` in training, and scales the others up.

    y = x / (1 - rate) with probability 1 - rate, else 0, so that E y = x; nothing in evaluation

    Args:
        rate: in 0 .. 1, below 1.

    Returns:
        An edit for activations of any shape.

    Raises:
        PwactError: a rate that is not in the range.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.edits import dropout
        >>> sorted(set(dropout(rate=0.5)(jax.random.key(0), jnp.ones((2, 4, 4, 2))).ravel().tolist()))
        [0.0, 2.0]

    Reference: N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15
        (2014). Status: abstract.
    """
    share = finite_number("rate", rate, "correct rate")
    if not 0 <= share < 1:
        raise PwactError("a rate in 0 .. 1, below 1", repr(rate), "correct rate")

    def fn(key: Any, activation: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        kept = jax.random.bernoulli(key, 1 - share, activation.shape)
        return jnp.where(kept, activation / (1 - share), jnp.zeros_like(activation))

    return Edit(fn)
