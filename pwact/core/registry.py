"""From text to a method: `pgd(steps=40)` calls the factory of that name with literal arguments."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pwact.errors import PwactError


def resolve(text: str, home: ModuleType | Mapping[str, Any]) -> Any:
    """Call the factory that `text` names.

    Grammar: `name`, `name(literal, keyword=literal, ...)`; an argument may itself be such a call.

    Args:
        text: what the user wrote, e.g. "by_class(moments(), num_classes=10)".
        home: a module whose `__all__` lists the factories, or a mapping from name to factory.

    Returns:
        What the factory returned.

    Raises:
        PwactError: not such a call, a name that is not there (the nearest are listed), or
            arguments that the factory does not take.

    Example:
        >>> resolve("pair(1, right=(2, 3))", {"pair": lambda left, right: (left, right)})
        (1, (2, 3))
    """
    factories = {name: getattr(home, name) for name in home.__all__} if isinstance(home, ModuleType) else home
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise _malformed(text) from None
    return _call(tree, text, factories)


def nearest(name: str, names: Any) -> str:
    """The names most like `name`, in words, for an error message."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(sorted(names))}"


def _call(node: ast.expr, text: str, factories: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        node = ast.Call(func=node, args=[], keywords=[])
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise _malformed(text)
    name = node.func.id
    if name not in factories:
        raise PwactError(f"one of: {', '.join(sorted(factories))}", f"'{name}'", nearest(name, factories))
    positional = [_argument(argument, text, factories) for argument in node.args]
    keyword = {}
    for item in node.keywords:
        if item.arg is None:
            raise _malformed(text)
        keyword[item.arg] = _argument(item.value, text, factories)
    try:
        return factories[name](*positional, **keyword)
    except TypeError as error:
        raise PwactError(f"arguments that {name} takes", f"'{text}'", str(error)) from error


def _argument(node: ast.expr, text: str, factories: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Call):
        return _call(node, text, factories)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _malformed(text) from None


def _malformed(text: str) -> PwactError:
    return PwactError(
        "a name, or a call with literal arguments",
        f"'{text}'",
        "write it like top_k(9) or firing(threshold=0.5)",
    )
