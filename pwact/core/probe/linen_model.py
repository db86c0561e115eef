"""A Flax Linen module as a pure function whose submodules mark what they return."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import linen as nn
from flax.errors import InvalidRngError

from pwact.core.probe.marks import Call, marked_call
from pwact.core.probe.modes import SWITCHES, Mode, check_callable_with_image, switches_of
from pwact.errors import PwactError


def linen_function(module: Any, mode: Mode) -> Callable[[Any, Any], Any]:
    """The module as `function(variables, image)`; in training mode it returns (outputs, new variables)."""
    fields = {
        name: SWITCHES[name] == mode for name in SWITCHES if isinstance(getattr(module, name, 0), bool | None)
    }
    module = module.clone(**fields) if fields else module
    switches = switches_of(type(module).__call__, mode)
    check_callable_with_image(module.__call__, switches, type(module).__name__)

    def function(variables: Any, image: Any) -> Any:
        if mode == "evaluation":
            return module.apply(variables, image, **switches)
        changing = [name for name in variables if name != "params"]
        try:
            outputs, changed = module.apply(variables, image, mutable=changing, **switches)
        except InvalidRngError as error:
            raise PwactError(
                "a Linen module that draws no random numbers in training mode",
                str(error).splitlines()[0],
                "probe a function((variables, key), image) that calls apply(..., rngs=...) itself",
            ) from error
        return outputs, {**variables, **{name: changed[name] for name in changing}}

    return function


@contextlib.contextmanager
def marked_linen_modules() -> Iterator[None]:
    """While this is open, every Linen module that is called marks what it returns."""

    def intercept(method: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module, name = context.module, context.method_name
        library = type(module).__module__.startswith("flax.")
        call = Call("linen", library, ".".join(module.path))
        if name != "__call__" and (library or name.startswith("_") or name == "setup"):
            with jax.named_scope(call.label):
                return method(*args, **kwargs)
        return marked_call(call, type(module).__name__, name, method, *args, **kwargs)

    with nn.override_named_call(False), nn.intercept_methods(intercept):
        yield
