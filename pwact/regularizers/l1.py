"""The sum of all kernels' absolute values."""

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
def l1(weight: float) -> Penalty:
    """Pulls every weight of a kernel towards zero by the same amount, so that many come close to it.

    R = weight * sum over kernels of sum |w|;   dR/dw = weight * sign(w), 0 at 0

    Args:
        weight: of the penalty; 0 or more.

    Returns:
        A penalty on kernels (arrays of two axes or more); biases and norms are free.

    Raises:
        PwactError: a weight below 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.regularizers import l1
        >>> params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.ones(2)}
        >>> float(l1(0.5).value(params, jnp.int32(0)))
        1.5

    Reference: P. M. Williams, Bayesian regularization and pruning using a Laplace prior, Neural Computation
        7 (1995). Status: abstract (the formula is common knowledge).
    """
    weight = finite_number("weight", weight, "give a weight of 0 or more")
    if weight < 0:
        raise PwactError("weight of 0 or more", repr(weight), "give a weight of 0 or more")

    def value(params: Any, step: Int[Array, ""]) -> Float[Array, ""]:
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        # The gradient of jnp.abs at 0 is 1.
        return weight * sum((jnp.sum(kernel * jnp.sign(kernel)) for kernel in kernels), jnp.zeros(()))

    return Penalty(value)
