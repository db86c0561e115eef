from __future__ import annotations

import pytest

from pwact.core.registry import resolve
from pwact.errors import PwactError

FACTORIES = {"pair": lambda left, right=0: (left, right), "unit": lambda: "unit"}


def test_a_bare_name_is_a_call_without_arguments():
    assert resolve("unit", FACTORIES) == resolve("unit()", FACTORIES) == "unit"


def test_calls_nest_and_arguments_are_literals():
    assert resolve("pair(unit(), right=[-1, {'a': None}])", FACTORIES) == ("unit", [-1, {"a": None}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pair(",
        "1",
        "a.b()",
        "pair(open)",
        "pair(**{'left': 1})",
        "pair(1 + 1)",
        "(lambda: 1)()",
        "pair(*[1])",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(PwactError, match="a call with literal arguments"):
        resolve(text, FACTORIES)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(PwactError, match="nearest: pair"):
        resolve("pairs(1)", FACTORIES)


def test_wrong_arguments_are_said():
    with pytest.raises(PwactError, match="arguments that pair takes"):
        resolve("pair(1, wrong=2)", FACTORIES)
