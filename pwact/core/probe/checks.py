"""Whether what is given to a probe is like what was traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pwact.errors import PwactError


def checked_edit(name: str, edit: Callable[[Any], Any], aval: Any) -> Callable[[Any], Any]:
    """The edit, which raises unless its result is like its argument."""

    def checked(activation: jax.Array) -> jax.Array:
        result = edit(activation)
        is_one = jax.tree_util.all_leaves([result])
        if is_one and jnp.shape(result) == aval.shape and jnp.result_type(result) == aval.dtype:
            return jnp.asarray(result, aval.dtype)
        raise PwactError(
            f"an edit of {name!r} that returns {aval.dtype.name}{list(aval.shape)}",
            f"{jnp.result_type(result).name}{list(jnp.shape(result))}" if is_one else type(result).__name__,
            "keep the shape and dtype of the activation",
        )

    return checked


def structs(tree: Any) -> Any:
    """The shapes and dtypes of a pytree's arrays."""
    try:
        return jax.eval_shape(lambda arrays: arrays, tree)
    except TypeError as error:
        kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(tree) if not _is_array(leaf)}
        raise PwactError(
            "arrays, numbers and pytrees of them", ", ".join(sorted(kinds)), "leave out what is no array"
        ) from error


def _is_array(leaf: Any) -> bool:
    kind = getattr(getattr(leaf, "dtype", None), "kind", "O")
    return kind not in "OSU" or isinstance(leaf, (bool, int, float, complex))


def batch_of(image: Any) -> int:
    """The number of images, which the first array's first axis counts."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(image) if leaf.shape]
    if not shapes:
        raise PwactError("an image with a batch axis", "no axis at all", "pass a batch, image[None]")
    if len({shape[0] for shape in shapes}) > 1:
        raise PwactError(
            "arrays whose first axis is the batch",
            f"first axes {[shape[0] for shape in shapes]}",
            "put what has no batch axis into the variables",
        )
    return shapes[0][0]


def check_same(what: str, expected: Any, found: Any) -> None:
    """Raise at the first difference between two pytrees of shapes, which may differ in metadata."""
    wanted, given = map(jax.tree_util.tree_leaves_with_path, (expected, found))
    for (place, struct), (other_place, other) in zip(wanted, given, strict=False):
        where, elsewhere = jax.tree_util.keystr(place), jax.tree_util.keystr(other_place)
        if where != elsewhere:
            raise PwactError(
                f"{what}{where}", f"{what}{elsewhere}", f"pass {what} like those that were traced"
            )
        if struct.shape != other.shape or struct.dtype != other.dtype:
            raise PwactError(
                f"{what}{where} of {struct.dtype}{list(struct.shape)}",
                f"{other.dtype}{list(other.shape)}",
                "pass what was traced, or probe the model again",
            )
    if len(wanted) != len(given):
        raise PwactError(
            f"{what} of {len(wanted)} arrays",
            f"{len(given)} arrays",
            "pass what was traced, or probe the model again",
        )
