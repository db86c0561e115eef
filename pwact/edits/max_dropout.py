"""The most active entries set to zero."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.core.registry import nearest
from pwact.edits.edit import Edit
from pwact.errors import PwactError

SCOPES = ("batch", "sample", "channel")


@memoized
def max_dropout(
    rate: float = 0.3, scope: Literal["batch", "sample", "channel"] = "batch", active_at_eval: bool = False
) -> Edit:
    """Sets the entries to zero that lie in the upper part of the range of all.

    u = (x - min x) / (max x - min x), 0 where all are equal;   y = x where u <= 1 - rate, else 0

    Nothing is random and nothing is scaled up. How many entries go is up to the data: one far above the
    others shields these. Gradients pass through entries that stay.

    Args:
        rate: the part of the range whose entries go, in 0 .. 1; at 1 only the smallest stay.
        scope: what minimum and maximum are taken over: the whole `batch`, each `sample`, or each `channel`
            over all images and points.
        active_at_eval: whether it also acts in evaluation, as in the authors' residual networks.

    Returns:
        An edit.

    Raises:
        PwactError: a rate outside 0 .. 1, another scope.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.edits import max_dropout
        >>> max_dropout(rate=0.3)(jax.random.key(0), jnp.array([-1.0, 0.0, 1.0, 2.0, 3.0])).tolist()
        [-1.0, 0.0, 1.0, 0.0, 0.0]

    Reference: C. F. G. do Santos, D. Colombo, M. Roder, J. P. Papa, MaxDropout: deep neural network
        regularization based on maximum output values, ICPR 2020, arXiv 2007.13723. Status: code (the authors'
        program; `scope` is ours).
    """
    rate = finite_number("rate", rate, "give a part of the range")
    if not 0 <= rate <= 1:
        raise PwactError("rate in 0 .. 1", repr(rate), "give a part of the range")
    if scope not in SCOPES:
        raise PwactError(f"scope as one of: {', '.join(SCOPES)}", repr(scope), nearest(str(scope), SCOPES))
    if not isinstance(active_at_eval, bool):
        raise PwactError("active_at_eval as True or False", repr(active_at_eval), "correct active_at_eval")

    def change(key: Any, activation: Array) -> Array:
        axes = tuple(range(activation.ndim))
        over = {"batch": axes, "sample": axes[1:], "channel": axes[:-1]}[scope]
        low, high = (find(activation, over, keepdims=True) for find in (jnp.min, jnp.max))
        width = high - low
        height = jnp.where(width > 0, (activation - low) / jnp.where(width > 0, width, 1), 0)
        return jnp.where(height <= 1 - rate, activation, 0)

    return Edit(change, evaluation=active_at_eval)
