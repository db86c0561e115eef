"""Squared distance between outputs and the vertex of the image's class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.objectives.objective import Objective


@memoized
def mean_square(scale: float = 1.0) -> Objective:
    """The mean squared error between the outputs and a vertex of a simplex, one for each class.

    L = mean over i and j of (z_ij - scale * [j = y_i])^2

    Args:
        scale: the vertex of class k is `scale` times the k-th unit vector; above 0.

    Returns:
        An objective, averaged over valid rows and over classes. The decision is the nearest vertex, which is
        the argmax of the outputs.

    Raises:
        PwactError: a scale that is not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.objectives import mean_square
        >>> z, y = jnp.array([[10.0, 0.0], [0.0, 8.0]]), jnp.array([0, 1])
        >>> float(mean_square(scale=10.0).loss(z, y, jnp.ones(2, bool), jnp.int32(0)))
        1.0

    Reference: L. Hui, M. Belkin, Evaluation of neural architectures trained with square loss vs
        cross-entropy in classification tasks, ICLR 2021. Status: abstract (no code was read).
    """
    scale = finite_number("scale", scale, "give the distance of a vertex from the origin")
    if scale <= 0:
        raise PwactError("scale above 0", repr(scale), "give the distance of a vertex from the origin")

    def loss(
        outputs: Float[Array, "batch class"],
        label: Int[Array, " batch"],
        valid: Bool[Array, " batch"],
        step: Int[Array, ""],
    ) -> Float[Array, ""]:
        vertex = scale * jax.nn.one_hot(label, outputs.shape[-1], dtype=outputs.dtype)
        error = jnp.where(valid[:, None], outputs - vertex, 0)
        return (error * error).mean(1).sum() / jnp.maximum(valid.sum(), 1)

    return Objective(loss)
