"""What is written into a program while it is traced: where a value belongs and what it is called.

Two marks, neither of which reaches a program that is emitted:

- an *identity equation*, `site_p`, on each array that a module or a function returned;
- a *named scope* around each call, so that every equation knows which call it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

SEPARATOR = "|"
"""Between the fields of a call's scope; no framework uses it in a name."""

site_p = Primitive("site")
"""The identity on one array. `operation` is what produced it, `leaf` its place in the returned pytree."""

site_p.def_impl(lambda value, **_: value)
site_p.def_abstract_eval(lambda value, **_: value)
mlir.register_lowering(site_p, lambda context, value, **_: [value])
batching.primitive_batchers[site_p] = lambda values, axes, **params: (site_p.bind(*values, **params), axes[0])
ad.primitive_jvps[site_p] = lambda primals, tangents, **params: (site_p.bind(*primals, **params), tangents[0])


class Call(NamedTuple):
    """A call, as it stands in the name stack of every equation inside it.

    Args:
        kind: "nnx" or "linen" for a module; "function" for a nested `jit`, `custom_jvp` or `custom_vjp`;
            "inlined" for a library's function that left nothing but its equations.
        library: whether it belongs to a framework, so that its insides are not a researcher's to name.
        name: a module's dotted path from its root (empty for the root), or the function's name.
    """

    kind: str
    library: bool
    name: str

    @property
    def label(self) -> str:
        """The scope's name. `parse` reads it back."""
        return SEPARATOR.join(("pwact", self.kind, "library" if self.library else "user", self.name))

    @staticmethod
    def parse(label: str) -> Call | None:
        """The call with this label; None for a scope that the model's author set."""
        fields = label.split(SEPARATOR)
        if len(fields) != 4 or fields[0] != "pwact":
            return None
        return Call(fields[1], fields[2] == "library", fields[3])


def marked_call(
    call: Call, owner: str, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Call a method of a module inside its scope and mark what it returns.

    Args:
        call: the module.
        owner: the name of the module's class.
        name: the name of the method.
        method: what to call with the other arguments.
    """
    with jax.named_scope(call.label):
        outputs = method(*args, **kwargs)
        if name == "__call__":
            return _marked(outputs, owner, "")
        return _marked(outputs, name, f".{name}")


def _marked(outputs: Any, operation: str, suffix: str) -> Any:
    """The same pytree with an identity equation on every array."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(
        outputs, is_leaf=lambda node: isinstance(node, (nnx.Pytree, nnx.Variable))
    )
    marked = [
        site_p.bind(leaf, operation=operation, leaf=suffix + leaf_suffix(path))
        if isinstance(leaf, jax.Array)
        else leaf
        for path, leaf in leaves
    ]
    return jax.tree_util.tree_unflatten(treedef, marked)


def leaf_suffix(path: Sequence[Any]) -> str:
    """The place of a leaf in a pytree, as it is appended to a name.

    Example:
        >>> import jax
        >>> leaves = jax.tree_util.tree_leaves_with_path({"a": 1.0, "b": (2.0, 3.0)})
        >>> [leaf_suffix(path) for path, _ in leaves]
        ['[a]', '[b][0]', '[b][1]']
    """
    return "".join(f"[{jax.tree_util.keystr((key,), simple=True)}]" for key in path)
