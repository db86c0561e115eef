"""What an edit is: a change of an activation, in training and perhaps in evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Edit:
    """A change of the activation at a site: `edit(key, activation)`.

    Args:
        change: (key, activation [batch, ...]) -> activation of the same shape and type; pure, usable inside
            any `jit` or `vmap`.
        evaluation: whether it is also in place in evaluation.
    """

    change: Callable[[Any, Array], Array]
    evaluation: bool = False

    def __call__(self, key: Any, activation: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self.change(key, activation)
