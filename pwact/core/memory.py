"""What is remembered so that equal questions find the program that was compiled for them."""

from __future__ import annotations

import collections
import functools
import hashlib
import inspect
import types
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

KEPT = 64
"""Per probe; the least recently used go first."""

LIBRARIES = ("jax", "jaxlib", "numpy")
"""Their modules and functions do not change under us."""

_WRITTEN: dict[int, str] = {}
"""How to ask for what a memoized factory made, which lives as long as the process does."""

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
    if isinstance(function, types.FunctionType):
        return _written(function, ()) or function
    return function if isinstance(function, Hashable) else _Itself(function)


def _written(function: types.FunctionType, within: tuple[types.FunctionType, ...]) -> Hashable | None:
    """A function's code with every value that it refers to; None where one of these might change unseen."""
    if function in within:
        return None
    names = _names(function.__code__) & function.__globals__.keys()
    try:
        values = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a cell that is still empty
        return None
    values += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    values += [function.__globals__[name] for name in sorted(names)]
    key: list[Hashable] = [function.__code__]
    for value in values:
        if isinstance(value, (int, float, str, bool, type(None))):
            key.append((type(value), value))
        elif _of_library(value):
            key.append(value)
        elif isinstance(value, types.FunctionType) and (inner := _written(value, (*within, function))):
            key.append(inner)
        else:
            return None
    return tuple(key)


def _of_library(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0] in LIBRARIES
    return callable(value) and (getattr(value, "__module__", None) or "").partition(".")[0] in LIBRARIES


def _names(code: types.CodeType) -> set[str]:
    """The names of globals, and of attributes, in a function and in those inside it."""
    inside = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*map(_names, inside))


class _Itself:
    """Equal only for the very same object, which it keeps alive so that no other takes its place."""

    def __init__(self, thing: Any):
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


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
            given = ", ".join(f"{name}={described(value)}" for name, value in bound.arguments.items())
            _WRITTEN[id(made[key])] = f"{factory.__name__}({given})"
        return made[key]

    return make  # type: ignore[return-value]


def described(value: Any) -> str:
    """A value as a person would write it: what `memoized` made as the call that makes it.

    A function is its name and a hash of its code, so that another one of the same name is told apart.

    Example:
        >>> from pwact.stats import by_class, moments
        >>> described(by_class(moments(), 3))
        'by_class(acc=moments(order=2), num_classes=3)'
    """
    if id(value) in _WRITTEN:
        return _WRITTEN[id(value)]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {described(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(described, value))})"
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}#{_code_hash(value.__code__)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _code_hash(code: types.CodeType) -> str:
    consts = [
        _code_hash(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts
    ]
    content = repr((code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
