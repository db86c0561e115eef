"""A streaming, mergeable statistic, as four pure functions. Statistics are in pwact/stats, one a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from pwact.errors import PwactError
from pwact.types import Observation

State = Any

NO_INDEX = 2**31 - 1
"""The dataset index of no image: larger than any that is one."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Named:
    """An array and the names of its axes.

    Args:
        values: the array, or a `Counter` of its shape, which NumPy reads as int64.
        dims: one name an axis, in order: `row`, `column`, `channel`, `class`, `rank`, ...
        unit: where there is one that is not the activation's own, such as `bit`.
    """

    values: Any
    dims: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    unit: str = dataclasses.field(default="", metadata={"static": True})


Result = dict[str, Named]


class Accumulator(NamedTuple):
    """Four pure functions over pytrees, usable inside any `jit`, `scan` or `vmap`.

    Laws: `merge` is associative and commutative with `init(spec)` as its identity; `update` over
    any split of a dataset, with any padding, merged in any order, finalises to the same result.

    A statistic that must read the dataset more than once says so with `passes`. Between two passes
    `advance` turns the state of all images into the one that every part of the next pass begins with,
    and which is the identity of `merge` among the states of that pass.

    Args:
        init: activation of one image (shape without the batch axis, dtype) -> the identity of merge.
            Refuses, with `PwactError`, an activation that the statistic is not defined on. A pairwise
            statistic is given a tuple of two.
        update: (state, one batch) -> state.
        merge: (state, state) -> state.
        finalize: state -> named arrays.
        advance: state at the end of a pass -> state at the beginning of the next.
        passes: how often the dataset is read.
        pairwise: whether `Observation.activation` is a tuple of the activations at two sites.
        channelwise: whether each channel is on its own: every array of the state whose last axis is
            the activation's last depends on that channel alone, and no other array on any channel.
    """

    init: Callable[[Any], State]
    update: Callable[[State, Observation], State]
    merge: Callable[[State, State], State]
    finalize: Callable[[State], Result]
    advance: Callable[[State], State] = lambda state: state
    passes: int = 1
    pairwise: bool = False
    channelwise: bool = False


def point_dims(ndim: int) -> tuple[str, ...]:
    """Names of the axes of one image's activation: a map's, a vector's, or numbered ones."""
    if ndim == 3:
        return ("row", "column", "channel")
    if ndim == 1:
        return ("channel",)
    return tuple(f"axis_{axis}" for axis in range(ndim))


def float_dtype(spec: jax.ShapeDtypeStruct) -> jnp.dtype:
    """What a statistic computes in: float32, or the activation's own type where that is wider."""
    if not jnp.issubdtype(spec.dtype, jnp.floating):
        raise PwactError(
            "an activation of floating-point numbers",
            f"dtype {spec.dtype}",
            "choose another site, or convert with on()",
        )
    return jnp.promote_types(spec.dtype, jnp.float32)


def per_image(
    values: Shaped[Array, " batch"], like: Shaped[Array, "batch ..."]
) -> Shaped[Array, "batch ..."]:
    """One value an image, with as many axes as `like`, so that the two combine."""
    return values.reshape(values.shape + (1,) * (like.ndim - 1))
