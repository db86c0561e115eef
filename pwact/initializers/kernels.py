"""Kernels of a pytree of parameters, replaced one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array


def redrawn(key: Any, params: Any, draw: Callable[[Any, Array], Array]) -> Any:
    """The parameters with `draw(key, kernel)` for every array of two axes or more, each with its own key."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure,
        [draw(own, leaf) if leaf.ndim > 1 else leaf for own, leaf in zip(keys, leaves, strict=True)],
    )


def paths(params: Any) -> list[str]:
    """A dotted name for each leaf: `blocks.0.conv.kernel`.

    Example:
        >>> import jax.numpy as jnp
        >>> paths({"head": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}})
        ['head.bias', 'head.kernel']
    """
    found, _ = jax.tree.flatten_with_path(params)
    # An NNX variable adds `.value` to the name that the module gave it.
    return [
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in found
    ]
