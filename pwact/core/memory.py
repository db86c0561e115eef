"""What is remembered so that equal questions find the program that was compiled for them."""

from __future__ import annotations

import collections
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

KEPT = 64
"""Per probe; the least recently used go first."""

Item = TypeVar("Item")
Factory = TypeVar("Factory", bound=Callable[..., Any])

_MEMORY: dict[int, collections.OrderedDict[Hashable, Any]] = {}


def remembered(probe: Any, key: Hashable, make: Callable[[], Item]) -> Item:
    """What `make` returned the first time this very probe was asked for `key`.

    Nothing of it keeps the probe alive, as long as what `make` returns does not.
    """
    if id(probe) not in _MEMORY:
        _MEMORY[id(probe)] = collections.OrderedDict()
        weakref.finalize(probe, _MEMORY.pop, id(probe), None).atexit = False
    kept = _MEMORY[id(probe)]
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
    return kept[key]


def function_key(function: Any) -> Hashable:
    """What tells functions apart: two lambdas written at the same place with the same values are one.

    A function made anew on every call, such as `logits=lambda outputs: outputs[0]` in a loop, would
    otherwise be compiled anew.

    Example:
        >>> def scaled(by):
        ...     return lambda x: by * x
        >>> function_key(scaled(2)) == function_key(scaled(2))
        True
        >>> function_key(scaled(2)) == function_key(scaled(3))
        False
    """
    if not isinstance(function, types.FunctionType):
        return function if isinstance(function, Hashable) else (type(function), id(function))
    inside = [cell.cell_contents for cell in function.__closure__ or ()]
    inside += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if all(isinstance(value, (int, float, str, bool, type(None))) for value in inside):
        return (function.__code__, tuple((type(value), value) for value in inside))
    return function


def memoized(factory: Factory) -> Factory:
    """The factory, returning the same object for equal arguments, however they are passed.

    Example:
        >>> @memoized
        ... def box(content, size=1):
        ...     return [content]
        >>> box(3) is box(content=3, size=1), box(3) is box(3.0)
        (True, False)
    """
    signature, made = inspect.signature(factory), {}

    @functools.wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        key = tuple((type(value), function_key(value)) for value in bound.arguments.values())
        if key not in made:
            made[key] = factory(*args, **kwargs)
        return made[key]

    return make  # type: ignore[return-value]
