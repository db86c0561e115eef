"""What a penalty is: parameters become one number that is added to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array


class Penalty(NamedTuple):
    """A term of the loss that looks at the parameters alone.

    A regulariser that changes the update instead of the loss (a decoupled one) is an
    `optax.GradientTransformation`, which stands where weight decay does.

    Args:
        value: `value(params, step i32[]) -> f32[]` for the parameters of one network, any pytree of arrays;
            `step` counts optimizer steps from 0. Kernels are the arrays of two axes or more.
    """

    value: Callable[[Any, Array], Array]
