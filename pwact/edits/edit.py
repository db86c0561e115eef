"""What an edit is: a change of one activation while a network is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Edit:
    """A function of a key and an activation. Made by the factories of `pwact.edits`.

    Args:
        fn: (key, activation [batch, row, column, channel]) -> activation of the same shape and dtype.
        evaluation: whether it also acts in evaluation.
    """

    fn: Callable[[Any, Float[Array, "batch ..."]], Float[Array, "batch ..."]]
    evaluation: bool = False

    def __call__(self, key: Any, activation: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        return self.fn(key, activation)
