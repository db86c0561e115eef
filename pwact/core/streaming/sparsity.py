"""Measures of sparsity that are functions of one ratio."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "*points"]


def sparsities(ratio: Values, count: Float[Array, ""] | int) -> dict[str, Values]:
    """Treves-Rolls and Hoyer sparsity of `count` sizes whose variance over squared mean is `ratio`.

    With a the squared mean over the mean square, 1 - a = ratio / (1 + ratio).

    Args:
        ratio: 0 or more.
        count: of numbers, 2 or more.

    Returns:
        `treves_rolls` = (1 - a) / (1 - 1 / count), `hoyer` = (1 - sqrt(a)) / (1 - 1 / sqrt(count)).

    Example:
        >>> {name: float(value) for name, value in sparsities(jnp.array(3.0), 4).items()}
        {'treves_rolls': 1.0, 'hoyer': 1.0}
    """
    apart = ratio / (1 + ratio)
    count = jnp.asarray(count, ratio.dtype)
    return {
        "treves_rolls": apart / ((count - 1) / count),
        "hoyer": apart / (1 + 1 / jnp.sqrt(1 + ratio)) / ((count - 1) / (count + jnp.sqrt(count))),
    }
