"""Half the squared length of all kernels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.regularizers.penalty import Penalty


@memoized
def l2(weight: float) -> Penalty:
    """Pulls every kernel towards zero, in proportion to itself.

    R = weight / 2 * sum over kernels of |W|^2;   dR/dW = weight * W

    It is coupled: momentum and clipping see its gradient. Decoupled weight decay is `Recipe.weight_decay`.

    Args:
        weight: of the penalty; 0 or more.

    Returns:
        A penalty on kernels (arrays of two axes or more); biases and norms are free.

    Raises:
        PwactError: a weight below 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.regularizers import l2
        >>> params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.ones(2)}
        >>> float(l2(0.5).value(params, jnp.int32(0)))
        9.0

    Reference: A. Krogh, J. A. Hertz, A simple weight decay can improve generalization, NIPS 1991. Status:
        abstract (the formula is common knowledge).
    """
    weight = finite_number("weight", weight, "give a weight of 0 or more")
    if weight < 0:
        raise PwactError("weight of 0 or more", repr(weight), "give a weight of 0 or more")

    def value(params: Any, step: Int[Array, ""]) -> Float[Array, ""]:
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        return weight / 2 * sum((jnp.sum(kernel * kernel) for kernel in kernels), jnp.zeros(()))

    return Penalty(value)
