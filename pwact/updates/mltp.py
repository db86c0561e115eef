"""A step that helps this batch should help the next one too: one step of look-ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.updates.update_rule import Loss, UpdateRule


@memoized
def mltp(weight: float = 1.0, step_size: float | None = None, first_order: bool = False) -> UpdateRule:
    """Asks that a gradient step on one batch also lowers the loss of another.

    J(p) = L(p; B_i) + weight * L(p - a g_i; B_j);   g_i = dL(p; B_i)/dp,   H_i = d²L(p; B_i)/dp²
    gradient = g_i + weight * (I - a H_i) g_j,   g_j = dL/dp at p - a g_i, of B_j

    so that to first order in a, batches are rewarded whose gradients agree: J = L_i + weight L_j
    - weight a g_i·g_j. Penalties are part of each loss, and so count 1 + weight times; decoupled weight
    decay counts once. Each pass draws its own dropout; running statistics are those of the pass over B_i.
    A step costs two gradients and one product with the Hessian, over two batches.

    Args:
        weight: of the second batch's loss; 0 or more.
        step_size: a, of the step that is looked ahead; 0 or more; None for the current learning rate. At 0
            the rule is the gradient of L_i + weight L_j.
        first_order: whether the product with the Hessian is left out.

    Returns:
        A rule of two batches, whose value is J; logs `gradient_cosine`, of g_i and g_j, in -1 .. 1.

    Raises:
        PwactError: a weight or step size below 0, or `first_order` that is no truth value.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.updates import mltp
        >>> def loss(w, batch, key):
        ...     return 0.5 * jnp.mean((w - batch) ** 2), None
        >>> batches, keys = (jnp.zeros(4), jnp.ones(4)), jax.random.split(jax.random.key(0))
        >>> _, _, slope, logs = mltp(step_size=0.5).gradient(loss, jnp.float32(2), batches, keys, 0.1)
        >>> float(slope)  # g_i = 2, p - a g_i = 1, g_j = 0
        2.0

    Reference: W. Deng, Z. Zhang, Meta-learning training procedure for ordinary supervision, arXiv 2002.12455.
        Status: reconstruction (the idea from the abstract; the equations are the one-step look-ahead of
        C. Finn et al., Model-agnostic meta-learning, ICML 2017).
    """
    weight = _not_negative("weight", weight)
    ahead = None if step_size is None else _not_negative("step_size", step_size)
    if not isinstance(first_order, bool):
        raise PwactError("first_order as True or False", repr(first_order), "correct first_order")

    def gradient(
        loss: Loss,
        params: Any,
        batches: Sequence[Any],
        keys: Any,
        learning_rate: Float[Array, ""] | float,
    ) -> tuple[Array, Any, Any, dict[str, Array]]:
        a = learning_rate if ahead is None else ahead
        slope = jax.value_and_grad(loss, has_aux=True)

        def first(params: Any) -> tuple[Any, Any]:
            value, here = slope(params, batches[0], keys[0])
            return here, value

        if first_order:
            here, (value, aux) = first(params)
        else:
            here, product, (value, aux) = jax.vjp(first, params, has_aux=True)
        looked = jax.tree.map(lambda leaf, by: leaf - a * by, params, here)
        (later, _), there = slope(looked, batches[1], keys[1])
        logs = {"gradient_cosine": _cosine(here, there)}
        if not first_order:
            (bent,) = product(there)
            there = jax.tree.map(lambda leaf, by: leaf - a * by, there, bent)
        both = jax.tree.map(lambda one, other: one + weight * other, here, there)
        return value + weight * later, aux, both, logs

    return UpdateRule(2, gradient)


def _cosine(one: Any, other: Any) -> Array:
    def dot(left: Any, right: Any) -> Array:
        pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
        return sum((jnp.sum(a * b) for a, b in pairs), jnp.zeros(()))

    lengths = jnp.sqrt(dot(one, one) * dot(other, other))
    return dot(one, other) / jnp.where(lengths > 0, lengths, 1)


def _not_negative(name: str, value: float) -> float:
    number = finite_number(name, value, f"correct {name}")
    if number < 0:
        raise PwactError(f"{name} of 0 or more", repr(value), f"correct {name}")
    return number
