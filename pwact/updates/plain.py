"""The gradient of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from pwact.core.caching import memoized
from pwact.updates.update_rule import Loss, UpdateRule


@memoized
def plain() -> UpdateRule:
    """The gradient of the batch's loss, as ever.

    gradient = dL(params; batch) / dparams

    Returns:
        A rule of one batch that logs nothing.

    Raises:
        Nothing.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.updates import plain
        >>> def loss(w, batch, key):
        ...     return jnp.mean((w - batch) ** 2), None
        >>> keys = (jax.random.key(0),)
        >>> value, _, slope, _ = plain().gradient(loss, jnp.float32(1), (jnp.ones(4) * 3,), keys, 0.1)
        >>> float(value), float(slope)
        (4.0, -4.0)

    Reference: H. Robbins, S. Monro, A stochastic approximation method, Annals of Mathematical Statistics 22
        (1951). Status: abstract.
    """

    def gradient(
        loss: Loss,
        params: Any,
        batches: Sequence[Any],
        keys: Any,
        learning_rate: Float[Array, ""] | float,
    ) -> tuple[Array, Any, Any, dict[str, Array]]:
        (value, aux), slope = jax.value_and_grad(loss, has_aux=True)(params, batches[0], keys[0])
        return value, aux, slope, {}

    return UpdateRule(1, gradient)
