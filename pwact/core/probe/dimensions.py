"""Numbers of images that are not known yet: a program is traced with a symbol in its shapes."""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.export import is_symbolic_dim, symbolic_shape

SYMBOL = "batch"

LARGEST_GROUP = 1024
"""Images left over by larger groups are not told from a batch of their own."""


@functools.cache
def symbolic_batch() -> Any:
    """The symbol for the number of images: one for all programs, so that they can be put side by side."""
    return symbolic_shape(SYMBOL)[0]


def concrete(size: Any, batch: Any) -> Any:
    """The size of an axis when there are `batch` images; as it is when that is the symbol.

    Example:
        >>> concrete(3 * symbolic_batch(), 2), concrete(5, 2)
        (6, 5)
    """
    if is_symbolic_dim(batch):
        return size
    # The only evaluation of a symbolic size that jax 0.10 and 0.11 have.
    return int(size._evaluate({SYMBOL: batch})) if is_symbolic_dim(size) else size


def batch_axis(shape: tuple[Any, ...], batch: Any) -> int | None:
    """The axis that holds the images and nothing else, when their number is a symbol; or None.

    Example:
        >>> batch = symbolic_batch()
        >>> batch_axis((4, batch, 8), batch), batch_axis((4 * batch, 8), batch)
        (1, None)
    """
    return next((axis for axis, size in enumerate(shape) if is_symbolic_dim(size) and size == batch), None)


def batch_from(size: Any, found: int, batch: Any) -> int | None:
    """The number of images that gives an axis the size that was found; None when the size does not say it.

    Example:
        >>> batch = symbolic_batch()
        >>> batch_from(2 * batch, 6, batch), batch_from((batch + 1) // 2, 6, batch), batch_from(6, 6, batch)
        (3, None, None)
    """
    if not is_symbolic_dim(size):
        return None
    one, two = concrete(size, 1), concrete(size, 2)
    is_linear = one != two and size == one + (two - one) * (batch - 1)
    return 1 + (found - one) // (two - one) if is_linear else None


@functools.cache
def is_remainder_or_groups(size: Any, batch: Any) -> bool:
    """Whether a size counts the groups of a fixed size that the images make up, or the images left over.

    Example:
        >>> batch = symbolic_batch()
        >>> sizes = (batch // 2, batch - 2 * (batch // 2), 2 * batch, batch * batch, 8)
        >>> [is_remainder_or_groups(size, batch) for size in sizes]
        [True, True, False, False, False]
    """
    if not is_symbolic_dim(size) or batch_from(size, 0, batch) is not None:
        return False
    return any(concrete(size, number) == 0 for number in range(1, LARGEST_GROUP + 1))


def with_batch(struct: jax.ShapeDtypeStruct, batch: Any) -> jax.ShapeDtypeStruct:
    """The same array for another number of images; a scalar has none."""
    shape = (batch, *struct.shape[1:]) if struct.shape else ()
    return jax.ShapeDtypeStruct(shape, struct.dtype)
