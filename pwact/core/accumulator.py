"""A streaming, mergeable statistic, as four pure functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from pwact.types import Observation

State = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Named:
    """An array and the names of its axes.

    Args:
        values: the array.
        dims: one name an axis, in order: `row`, `column`, `channel`, `class`, `rank`, ...
    """

    values: jax.Array
    dims: tuple[str, ...] = dataclasses.field(metadata={"static": True})


Result = dict[str, Named]


class Accumulator(NamedTuple):
    """Four pure functions over pytrees, usable inside any `jit`, `scan` or `vmap`.

    Laws: `merge` is associative and commutative with `init(spec)` as its identity; `update` over
    any split of a dataset, with any padding, merged in any order, finalises to the same result.

    Args:
        init: activation of one image (shape without the batch axis, dtype) -> the identity of merge.
        update: (state, one batch) -> state.
        merge: (state, state) -> state.
        finalize: state -> named arrays.
    """

    init: Callable[[jax.ShapeDtypeStruct], State]
    update: Callable[[State, Observation], State]
    merge: Callable[[State, State], State]
    finalize: Callable[[State], Result]
