"""Calls of modules whose results are no activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def unmarked_call(module: Any) -> Callable[..., Any]:
    """The call of a module's class, to be given the module itself; of None too.

    A probe gives modules another class, whose call makes a site of what it returns. A kernel has no batch, so
    it should be none.
    """
    return type(module).__call__ if callable(module) else _none


def _none(module: None, kernel: Any) -> Any:
    return kernel
