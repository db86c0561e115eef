"""Random entries set to zero."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.edits.edit import Edit
from pwact.errors import PwactError


@memoized
def dropout(rate: float) -> Edit:
    """Sets each entry to zero with a probability, in training only, and makes up for it in the others.

    y = x * b / (1 - rate),   b ~ Bernoulli(1 - rate) for each entry by itself

    Args:
        rate: probability that an entry goes, in 0 .. 1, below 1.

    Returns:
        An edit that does nothing in evaluation.

    Raises:
        PwactError: a rate outside 0 .. 1, or of 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.edits import dropout
        >>> sorted(set(dropout(0.5)(jax.random.key(0), jnp.ones(64)).tolist()))
        [0.0, 2.0]

    Reference: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout: a simple way
        to prevent neural networks from overfitting, JMLR 15 (2014). Status: abstract (with the scaling in
        training instead of in evaluation, as is usual).
    """
    rate = finite_number("rate", rate, "give the share of entries that go, below 1")
    if not 0 <= rate < 1:
        raise PwactError("rate in 0 .. 1, below 1", repr(rate), "give the share of entries that go")

    def change(key: Any, activation: Array) -> Array:
        kept = jax.random.bernoulli(key, 1 - rate, activation.shape)
        return jnp.where(kept, activation / (1 - rate), 0)

    return Edit(change)
