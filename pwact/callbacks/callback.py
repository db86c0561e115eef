"""What a callback is: a change of the parameters in the course of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jaxtyping import Array


class Callback(NamedTuple):
    """Two pure functions for one network, usable inside any `jit` or `vmap`; called after the optimizer.

    Args:
        init: `init(params) -> state`, before the first step; a pytree of arrays, which is checkpointed.
        update: `update(state, params, step i32[], steps i32[], key) -> (state, params)`; `step` is the one
            just taken, from 0, of `steps` in all. It may prune or edit: same structure, shapes and dtypes.
        every: `step`, or `epoch` for its last step.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Array, Array, Any], tuple[Any, Any]]
    every: Literal["step", "epoch"]
