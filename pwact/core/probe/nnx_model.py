"""A Flax NNX module as a pure function whose submodules mark what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx

from pwact.core.probe.marks import Call, marked_call
from pwact.core.probe.modes import SWITCHES, Mode, check_callable_with_image, switches_of


def nnx_function(module: nnx.Module, mode: Mode) -> tuple[Callable[[Any, Any], Any], Any]:
    """The module as `function(variables, image)`, and its own variables.

    The module itself is left as it is: a copy is put into the mode, and each of its submodules gets a
    subclass of its class, one for each place, whose call is marked. In training mode the function
    returns (outputs, new variables).
    """
    copy = nnx.clone(module)
    for path, submodule in list(nnx.iter_modules(copy)):
        for name, value in vars(submodule).items():
            if name in SWITCHES and (value is None or isinstance(value, bool)):
                setattr(submodule, name, SWITCHES[name] == mode)
        if callable(submodule):
            object.__setattr__(submodule, "__class__", _marked_class(type(submodule), path))
    graph, variables = nnx.split(copy)
    call = type(module).__call__
    switches = switches_of(call, mode)
    check_callable_with_image(call.__get__(module), switches, type(module).__name__)

    def function(variables: Any, image: Any) -> Any:
        model = nnx.merge(graph, variables)
        outputs = model(image, **switches)
        if mode == "evaluation":
            return outputs
        after = dict(nnx.to_flat_state(nnx.state(model)))
        return outputs, nnx.from_flat_state((path, after[path]) for path, _ in nnx.to_flat_state(variables))

    return function, variables


def _marked_class(base: type, path: tuple[Any, ...]) -> type:
    """A subclass whose `__call__`, and whose own public methods where a user wrote it, are marked."""
    call = Call("nnx", _is_library(base), ".".join(map(str, path)))
    methods: dict[str, Callable[..., Any]] = {
        name: method
        for owner in reversed(base.__mro__)
        if owner is base or not _is_library(owner)
        for name, method in vars(owner).items()
        if inspect.isfunction(method)
        and (name == "__call__" or not (name.startswith("_") or _is_library(owner)))
    }
    methods.setdefault("__call__", base.__call__)

    def marked(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: marked_call(
            call, base.__name__, name, method, self, *args, **kwargs
        )

    overrides = {name: marked(name, method) for name, method in methods.items()}
    return type(base.__name__, (base,), {**overrides, "__module__": base.__module__})


def _is_library(owner: type) -> bool:
    return owner.__module__.partition(".")[0] in ("flax", "builtins")
