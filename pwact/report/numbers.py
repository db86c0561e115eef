"""Numbers and nested settings as a reader sees them."""

from __future__ import annotations

import math
from typing import Any

from pwact.records import Interval


def number(value: float) -> str:
    """A measured number with three decimals, or with what its size needs.

    Args:
        value: any float; NaN is `undefined`.

    Returns:
        Text with a true minus sign.

    Example:
        >>> number(0.61249), number(-0.02), number(12345.6), number(0.00004), number(float("nan"))
        ('0.612', '−0.020', '12,346', '4e-05', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    size = abs(value)
    if value == 0:
        text = "0"
    elif size < 0.0005:
        text = f"{value:.0e}"
    elif size < 10:
        text = f"{value:.3f}"
    elif size < 1000:
        text = f"{value:.1f}"
    else:
        text = f"{value:,.0f}"
    return text.replace("-", "−", 1) if value < 0 else text


def tick(value: float) -> str:
    """A round number on an axis.

    Example:
        >>> tick(0.25), tick(-1.0), tick(40.0)
        ('0.25', '−1', '40')
    """
    return f"{value:.6g}".replace("-", "−", 1) if value < 0 else f"{value:.6g}"


def percent(value: float) -> str:
    """A share in percent.

    Example:
        >>> percent(0.9581)
        '95.8 %'
    """
    return "undefined" if math.isnan(value) else f"{100 * value:.1f} %"


def interval(value: Interval, show: Any = number) -> str:
    """An estimate with its interval.

    Example:
        >>> interval(Interval(0.6, 0.55, 0.65))
        '0.600 [0.550, 0.650]'
    """
    if math.isnan(value.estimate):
        return "undefined"
    return f"{show(value.estimate)} [{show(value.low)}, {show(value.high)}]".replace(" %", "\u202f%")


def p_value(value: float) -> str:
    """A probability; below one in a thousand only the bound is said.

    Example:
        >>> p_value(0.0312), p_value(0.0001)
        ('= 0.031', '< 0.001')
    """
    return "undefined" if math.isnan(value) else "< 0.001" if value < 0.001 else f"= {value:.3f}"


def pretty_rule(rule: str) -> str:
    """A rule with the signs of print.

    Example:
        >>> pretty_rule("lower bound >= 0.5")
        'lower bound ≥ 0.5'
    """
    return rule.replace(">=", "≥").replace("<=", "≤").replace("+-", "±")


def flatten(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """A nested dictionary as (dotted name, text) in its own order.

    Example:
        >>> flatten({"p1": {"aii": 0.5, "seeds": [0, 1]}, "split": None})
        [('p1.aii', '0.5'), ('p1.seeds', '0, 1'), ('split', 'none')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            rows += [(f"{name}.{inner}", text) for inner, text in flatten(value)]
        elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
            rows += [(f"{name}.{inner}", text) for inner, text in flatten(_numbered(value))]
        else:
            rows.append((name, plain(value)))
    return rows


def plain(value: Any) -> str:
    """One setting as text: numbers keep every digit, so that they can be copied.

    Example:
        >>> plain(True), plain(None), plain([8, 8]), plain(0.0003)
        ('yes', 'none', '8, 8', '0.0003')
    """
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(plain(each) for each in value)
    return str(value)


def _numbered(values: list[Any]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}
