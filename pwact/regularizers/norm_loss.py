"""The weights into every output, pulled to length one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.regularizers.penalty import Penalty

EPSILON = 1e-8
"""Beside a length that is divided by, so that weights of zero stay there."""


@memoized
def norm_loss(weight: float, decoupled: bool = False) -> Penalty | optax.GradientTransformation:
    """Pulls the length of each filter to one: short ones grow, long ones shrink.

    For w_o, all weights of a kernel into its output o (every axis but the last), and n_o = |w_o|,

        R = weight * sum over kernels and o of (1 - n_o)^2;   dR/dw_o = 2 weight (1 - 1 / n_o) w_o, 0 at 0

    Coupled, R is added to the loss, so that momentum and clipping see its gradient. Decoupled, before the
    gradient's step, w_o <- w_o (1 - 2 learning_rate weight (1 - 1 / (n_o + 1e-8))). Without a loss |n_o - 1|
    then shrinks by 1 - 2 learning_rate weight a step, so learning_rate * weight must stay below 1. Behind a
    normalisation, which ignores n_o, it pins the effective step learning_rate / n_o^2.

    Args:
        weight: of the penalty; 0 or more; 1e-4 .. 1e-1 in place of weight decay with sgd.
        decoupled: whether it changes the update rather than the loss.

    Returns:
        A penalty, or the optax transformation; on kernels (arrays of two axes or more).

    Raises:
        PwactError: a weight below 0, or `decoupled` that is no truth value.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.regularizers import norm_loss
        >>> params = {"kernel": 2 * jnp.eye(3), "bias": jnp.ones(3)}
        >>> float(norm_loss(1.0).value(params, jnp.int32(0)))
        3.0

    Reference: T. Georgiou, S. Schmitt, T. Bäck, W. Chen, M. Lew, Norm loss: an efficient yet effective
        regularization method for deep neural networks, arXiv 2103.06583. Status: reconstruction (idea from
        the abstract, formula as two other authors' optimizers have it; unlike these, 1-D arrays are free).
    """
    weight = finite_number("weight", weight, "give a weight of 0 or more")
    if weight < 0:
        raise PwactError("weight of 0 or more", repr(weight), "give a weight of 0 or more")
    if not isinstance(decoupled, bool):
        raise PwactError("decoupled as True or False", repr(decoupled), "correct decoupled")
    return _transformation(weight) if decoupled else _penalty(weight)


def _squares(kernel: Array) -> Array:
    """Squared lengths, one an output."""
    return jnp.sum(kernel * kernel, tuple(range(kernel.ndim - 1)))


def _penalty(weight: float) -> Penalty:
    def value(params: Any, step: Int[Array, ""]) -> Float[Array, ""]:
        total = jnp.zeros(())
        for kernel in jax.tree.leaves(params):
            if kernel.ndim > 1:
                squares = _squares(kernel)
                # A root of 0 has no gradient; NaN would come through a single `where`.
                length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
                total += jnp.sum((1 - length) ** 2)
        return weight * total

    return Penalty(value)


def _transformation(weight: float) -> optax.GradientTransformation:
    def change(update: Array, kernel: Array) -> Array:
        if kernel.ndim < 2:
            return update
        length = jnp.sqrt(_squares(kernel)).reshape((1,) * (kernel.ndim - 1) + (-1,))
        return update + 2 * weight * (1 - 1 / (length + EPSILON)) * kernel

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(change, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
