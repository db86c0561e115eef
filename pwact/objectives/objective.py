"""What a loss is: outputs and labels of one batch become one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array


class Objective(NamedTuple):
    """A loss over a batch, usable inside any `jit`, `grad` or `vmap`.

    Laws: rows with `valid` false may hold anything and change neither value nor gradient; the order of rows
    changes nothing but rounding; with no valid row the loss is 0 and so is its gradient.

    Args:
        loss: `loss(outputs f32[batch, class], label i32[batch], valid bool[batch], step i32[]) -> f32[]`;
            `step` counts optimizer steps from 0.
    """

    loss: Callable[[Array, Array, Array, Array], Array]
