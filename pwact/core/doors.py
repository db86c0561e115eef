"""A door of a configuration: a method as the text that makes it, or as the user's own object."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pwact.core.caching import described
from pwact.core.registry import resolve
from pwact.errors import PwactError


def entered(name: str, value: Any, room: ModuleType, kind: type | tuple[type, ...]) -> Any:
    """What a configuration keeps of a method: the whole call as text where `room` made it, else the object.

    Args:
        name: of the configuration's field, for errors.
        value: text such as "gccs(mean=10.0)", or an object of `kind`.
        room: the module whose `__all__` lists the factories.
        kind: what they return.

    Returns:
        Text with every argument written out, so that equal methods are equal; or the user's own object.

    Raises:
        PwactError: a name that is not there (the nearest are listed), arguments that do not fit, or an
            object of another kind.

    Example:
        >>> import pwact.stats
        >>> from pwact.core import Accumulator
        >>> entered("statistic", "moments", pwact.stats, Accumulator)
        'moments(order=2)'
    """
    made = opened(value, room)
    if not isinstance(made, kind):
        kinds = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise PwactError(
            f"{name} as {kinds}, or as text that makes one", repr(value)[:80], f"see {room.__name__}.__all__"
        )
    return written(made) if isinstance(value, str) or _makes(written(made), room, made) else value


def opened(value: Any, room: ModuleType) -> Any:
    """The method that `entered` kept."""
    return resolve(value, room) if isinstance(value, str) else value


def written(value: Any) -> str:
    """A method as text for a file; of a user's own object a description that nothing can be made from."""
    return value if isinstance(value, str) else described(value)


def _makes(text: str, room: ModuleType, made: Any) -> bool:
    try:
        return resolve(text, room) is made
    except PwactError:
        return False
