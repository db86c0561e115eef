"""Arguments of methods, once they are known to be what they should be."""

from __future__ import annotations

import math
import operator
from typing import Any

from pwact.core.accumulator import Accumulator
from pwact.errors import PwactError


def whole_number(name: str, value: Any, do: str, least: int = 1) -> int:
    """`value` as an int of `least` or more.

    Args:
        name: of the argument.
        value: an int, or a NumPy integer; not a bool, not a float.
        do: what to do about a wrong one.
        least: the smallest that is right.

    Raises:
        PwactError: it is something else.

    Example:
        >>> whole_number("k", 2.5, "ask for at least one image")
        Traceback (most recent call last):
        pwact.errors.PwactError: expected k of 1 or more, a whole number; found 2.5; ask for ...
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise PwactError(f"{name} of {least} or more, a whole number", repr(value), do)
    return number


def finite_number(name: str, value: Any, do: str) -> float:
    """`value` as a float that is neither NaN nor infinite.

    Example:
        >>> finite_number("threshold", "0", "give it in the activation's own unit")
        Traceback (most recent call last):
        pwact.errors.PwactError: expected threshold as a finite number; found '0'; give it in the ...
    """
    try:
        number = float(value) if not isinstance(value, (str, bytes, bool)) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise PwactError(f"{name} as a finite number", repr(value), do)
    return number


def accumulator(who: str, value: Any) -> Accumulator:
    """`value`, which `who` was given as a statistic."""
    if not isinstance(value, Accumulator):
        raise PwactError(
            f"an accumulator for {who}", repr(value), "call the factory: moments() rather than moments"
        )
    return value
