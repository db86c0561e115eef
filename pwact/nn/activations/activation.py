"""What an activation function is: a function of each number by itself, perhaps with parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flax import nnx


class Activation(NamedTuple):
    """What a block applies after its norm.

    Args:
        make: `make(channels, rngs)` gives the function of [batch, row, column, channel], which keeps shape
            and type. A function such as `jax.nn.relu` must be the same object each time, and its site has its
            name; an NNX module's parameters, and its site, are named `activation`.
    """

    make: Callable[[int, nnx.Rngs], Callable[[Any], Any]]
