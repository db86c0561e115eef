"""What a field of an architecture holds of a method: text that makes it, or an object of one's own."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pwact.core.caching import described
from pwact.core.registry import resolve
from pwact.errors import PwactError


def entered(name: str, value: Any, room: ModuleType, kind: type) -> Any:
    """The value that a field keeps, equal for equal methods: the shortest text, or an object of one's own.

    Args:
        name: of the field.
        value: what it was given.
        room: whose `__all__` the text is looked up in.
        kind: of an own object.

    Raises:
        PwactError: text that makes no method, or an object of another kind.
    """
    if isinstance(value, str):
        try:
            return written(resolve(value, room))
        except PwactError as error:
            own = f"{error.do}; a {kind.__name__} of your own is no text: pass it, to a checkpoint in config="
            raise PwactError(f"{name} as {error.expected}", error.found, own) from None
    if not isinstance(value, kind):
        raise PwactError(
            f"{name} as text, or as a {kind.__name__} of {room.__name__}", repr(value)[:80], "correct it"
        )
    try:
        made_here = resolve(described(value), room) is value
    except PwactError:
        made_here = False
    return written(value) if made_here else value


def method(value: Any, room: ModuleType) -> Any:
    """The method that an entered value stands for."""
    return resolve(value, room) if isinstance(value, str) else value


def written(value: Any) -> str:
    """A method as text; one of somebody's own is described, and nothing can be made from that."""
    return value if isinstance(value, str) else described(value).removesuffix("()")
