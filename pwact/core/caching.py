"""What is remembered so that equal questions find the program that was compiled for them."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import inspect
import re
import types
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

KEPT = 512
"""Per probe; the least recently used go first."""

LIBRARIES = ("jax", "jaxlib", "numpy", "pwact")
"""Their functions do not change under us, what they close over aside."""

DEEPEST = 12
"""How far values are followed that functions refer to; what lies deeper counts as the object that it is."""

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
    """What tells functions apart: their code with all values that it refers to, as these are now.

    Two lambdas written at the same place with the same values are one, so that a loop which makes
    `logits=lambda outputs: outputs[0]` anew each time is not compiled anew. The same function is another
    when a variable, an array or an attribute that it uses has changed since. Attributes of modules are
    taken to stay.

    Example:
        >>> def scaled(by):
        ...     return lambda x: by * x
        >>> function_key(scaled(2)) == function_key(scaled(2))
        True
        >>> function_key(scaled(2)) == function_key(scaled(3))
        False
    """
    return _content(function, ())


def _content(value: Any, within: tuple[int, ...]) -> Hashable:
    """A value as something that is equal for equal values and stays as it is when the value changes."""
    if isinstance(value, (int, float, complex, str, bytes, type(None))):
        return type(value), repr(value) if isinstance(value, (float, complex)) else value
    unchanging = isinstance(value, (type, types.ModuleType, jax.Array)) or id(value) in _WRITTEN
    if unchanging or len(within) > DEEPEST:
        return _Itself(value)
    if id(value) in within:
        return "again", within.index(id(value))

    def inner(part: Any) -> Hashable:
        return _content(part, (*within, id(value)))

    if isinstance(value, types.FunctionType):
        return _written(value, inner)
    if isinstance(value, types.MethodType):
        return "method", inner(value.__func__), inner(value.__self__)
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return "array", value.shape, value.dtype, content
    if isinstance(value, Mapping):
        return type(value), tuple((inner(key), inner(part)) for key, part in value.items())
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(inner, value))
    if isinstance(value, functools.partial):
        return "partial", inner(value.func), inner(value.args), inner(value.keywords)
    if hasattr(value, "__dict__"):
        return type(value), inner(dict(vars(value)))
    return _Itself(value)


def _written(function: types.FunctionType, inner: Callable[[Any], Hashable]) -> Hashable:
    """A function's code with every value that it refers to."""
    names = sorted(_names(function.__code__) & function.__globals__.keys())
    if function.__module__ and function.__module__.partition(".")[0] in LIBRARIES:
        names = []
    return (
        function.__code__,
        tuple(inner(_cell(cell)) for cell in function.__closure__ or ()),
        inner(function.__defaults__),
        inner(function.__kwdefaults__),
        tuple((name, inner(function.__globals__[name])) for name in names),
    )


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return None


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

    A function is its name and a hash of its code, its defaults and the values that it closes over, so that
    another one of the same name is told apart; a class is its name and a hash of its methods.

    Example:
        >>> from pwact.stats import by_class, moments
        >>> described(by_class(moments(), 3))
        'by_class(acc=moments(order=2), num_classes=3)'
    """
    return _described(value, ())


def _described(value: Any, within: tuple[int, ...]) -> str:
    if id(value) in _WRITTEN:
        return _WRITTEN[id(value)]
    if id(value) in within or len(within) > DEEPEST:
        return "..."

    def inner(part: Any) -> str:
        return _described(part, (*within, id(value)))

    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {inner(part)}" for name, part in value.items()) + "}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(inner, value))})"
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}#{_function_hash(value, inner)}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}{_methods_hash(value, inner)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, functools.partial):
        return f"partial({inner(value.func)}, {inner(value.args)}, {inner(value.keywords)})"
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        content = np.ascontiguousarray(value)
        return f"{content.dtype}{list(content.shape)}#{hashlib.sha256(content.tobytes()).hexdigest()[:12]}"
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(f'{name}={inner(part)}' for name, part in fields)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(inner, value))})"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # the same in another process


def _function_hash(function: types.FunctionType, inner: Callable[[Any], str]) -> str:
    """Of a function's code, its defaults and the values that it closes over."""
    cells = [inner(_cell(cell)) for cell in function.__closure__ or ()]
    defaults = inner(function.__defaults__ or ()), inner(function.__kwdefaults__ or {})
    content = repr((_code_hash(function.__code__), cells, defaults))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _methods_hash(kind: type, inner: Callable[[Any], str]) -> str:
    """Of the methods that a class of somebody else than a library defines itself."""
    if kind.__module__.partition(".")[0] in (*LIBRARIES, "flax", "optax", "builtins"):
        return ""
    methods = [inner(part) for part in vars(kind).values() if isinstance(part, types.FunctionType)]
    return "#" + hashlib.sha256(repr(methods).encode()).hexdigest()[:12]


def _code_hash(code: types.CodeType) -> str:
    consts = [
        _code_hash(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts
    ]
    content = repr((code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars))
    return hashlib.sha256(content.encode()).hexdigest()[:12]
