"""Changing a large state on a condition, without copying it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

State = TypeVar("State")


def only_if(condition: Bool[Array, ""], change: Callable[[State], State], state: State) -> State:
    """`change(state)` where the condition holds, else the state.

    A loop of one turn or none: XLA hands the arrays of a loop on where they are, but copies what a branch
    returns, which for counts at every point costs more than what is added to them.

    Args:
        condition: one bool.
        change: state -> state of the same shapes.
        state: any pytree.

    Example:
        >>> int(only_if(jnp.asarray(True), lambda count: count + 1, jnp.asarray(2)))
        3
    """
    return lax.fori_loop(0, condition.astype(jnp.int32), lambda _, state: change(state), state)
