"""From the text of a level to the value that a field takes, by the field's own annotation."""

from __future__ import annotations

import math
import types
import typing
from typing import Any, Literal, Union

import numpy as np

from pwact.core.caching import described
from pwact.core.registry import nearest
from pwact.errors import PwactError

OPENING, CLOSING = "([{", ")]}"


def split_outside(text: str) -> list[str]:
    """The parts of a list: cut at commas that stand in no bracket and no quotes.

    Example:
        >>> split_outside("cross_entropy(), gccs(mean=10.0, ramp=(0, 1))")
        ['cross_entropy()', 'gccs(mean=10.0, ramp=(0, 1))']
    """
    parts, begun, depth, quote = [], 0, 0, ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in OPENING:
            depth += 1
        elif sign in CLOSING:
            depth -= 1
            if depth < 0:
                break
        elif sign == "," and not depth:
            parts.append(text[begun:place])
            begun = place + 1
    if depth or quote:
        raise PwactError("brackets and quotes that close", repr(text), "write it like norm=none,batch")
    parts = [part.strip() for part in [*parts, text[begun:]]]
    if not all(parts):
        raise PwactError("a value between any two commas", repr(text), "write it like norm=none,batch")
    return parts


def assignment(text: str) -> tuple[str, str]:
    """NAME=REST in two.

    Example:
        >>> assignment("objective=gccs(mean=10.0)")
        ('objective', 'gccs(mean=10.0)')
    """
    name, equals, rest = text.partition("=")
    if not equals or not all(part.isidentifier() for part in name.strip().split(".")):
        raise PwactError("NAME=VALUE", repr(text), "write it like norm=batch")
    return name.strip(), rest.strip()


def typed(name: str, kind: Any, given: Any) -> Any:
    """A value as the field takes it.

    Args:
        name: of the field, for errors.
        kind: its annotation.
        given: text to read, or a value of one's own.

    Raises:
        PwactError: text that is no such value, or a value of another type.

    Example:
        >>> typed("widths", tuple[int, ...], "(16, 32)"), typed("learning_rate", float, "1e-2")
        ((16, 32), 0.01)
    """
    given = given.item() if isinstance(given, np.generic) else given
    kinds = _alternatives(kind)
    if kinds == [Any]:
        kinds = [int, float, bool, str, object]
    choices = [
        choice for each in kinds if typing.get_origin(each) is Literal for choice in typing.get_args(each)
    ]
    if choices:
        texts = {str(choice): choice for choice in choices}
        if given in choices:
            return given
        if given in texts:
            return texts[given]
        do = nearest(str(given), texts) if isinstance(given, str) else "pick one of these"
        raise PwactError(f"{name} as one of: {', '.join(texts)}", repr(given), do)
    if not isinstance(given, str):
        return _checked(name, kinds, given)
    if type(None) in kinds and given.lower() == "none":
        return None
    for each in kinds:
        if each in _READERS:
            value = _READERS[each](given)
            if value is not None:
                return value
    several = next((each for each in kinds if typing.get_origin(each) is tuple), None)
    if several is not None:
        return _several(name, several, given)
    if str in kinds and given:
        return given
    raise PwactError(f"{name} as {_words(kinds)}", repr(given), f"correct {name}")


def shown(value: Any) -> Any:
    """A value as a table holds it: a number, or the text that a person would write.

    Example:
        >>> shown(0.5), shown("batch"), shown((16, 32)), shown(("a()", "b(x=1)")), shown(())
        (0.5, 'batch', '(16, 32)', 'a() + b(x=1)', 'none')
    """
    if value is None or value == ():
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float | str | tuple):
        return described(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        if all(isinstance(item, int | float) for item in value):
            return repr(value)
        return " + ".join(str(shown(item)) for item in value)
    return value if isinstance(value, int | float | str) else described(value)


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _real(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


_READERS: dict[Any, Any] = {int: _whole, float: _real, bool: _truth}


def _several(name: str, kind: Any, text: str) -> tuple[Any, ...]:
    """A tuple from `(a, b)`; one item may stand without brackets, `none` is the empty one."""
    items = [item for item in typing.get_args(kind) if item is not ...]
    inner = text
    if text.lower() == "none":
        inner = ""
    elif text.startswith("(") and text.endswith(")") and _one_bracket(text):
        inner = text[1:-1].strip().removesuffix(",")
    values = [typed(name, items[0], part) for part in split_outside(inner)] if inner else []
    if ... not in typing.get_args(kind) and len(values) != len(items):
        raise PwactError(f"{name} as {len(items)} values in brackets", repr(text), f"correct {name}")
    return tuple(values)


def _one_bracket(text: str) -> bool:
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in OPENING) - (sign in CLOSING)
        if not depth and place < len(text) - 1:
            return False
    return True


def _checked(name: str, kinds: list[Any], given: Any) -> Any:
    """A value that is no text: of the right kind, or an object that is the field's to judge."""
    simple = [each for each in kinds if each in (int, float, bool, str, type(None))]
    several = next((each for each in kinds if typing.get_origin(each) is tuple), None)
    if isinstance(given, bool | None):
        if type(given) in simple:
            return given
    elif isinstance(given, int | float):
        if float in simple and math.isfinite(given):
            return float(given)
        if int in simple and given == int(given):
            return int(given)
    elif several is not None and isinstance(given, tuple | list) and not hasattr(given, "_fields"):
        return tuple(typed(name, typing.get_args(several)[0], value) for value in given)
    elif len(simple) < len(kinds):
        return given if several is None else (given,)
    raise PwactError(f"{name} as {_words(kinds)}", repr(given)[:80], f"correct {name}")


def _alternatives(kind: Any) -> list[Any]:
    if typing.get_origin(kind) in (Union, types.UnionType):
        return [inner for each in typing.get_args(kind) for inner in _alternatives(each)]
    return [kind]


def _words(kinds: list[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return " or ".join(names.get(each, getattr(each, "__name__", str(each))) for each in kinds)
