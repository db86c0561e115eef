from __future__ import annotations

import functools
import gc

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pwact.core import caching
from pwact.core.caching import described


class Thing:
    pass


def test_made_once_for_a_key_and_forgotten_with_the_thing():
    thing, made = Thing(), []

    def make():
        made.append(1)
        return len(made)

    assert [caching.remembered(thing, "a", make), caching.remembered(thing, "a", make)] == [1, 1]
    assert caching.remembered(thing, "b", make) == 2
    assert caching.remembered(Thing(), "a", make) == 3
    key = id(thing)
    assert key in caching._MEMORY
    del thing
    gc.collect()
    assert key not in caching._MEMORY


def test_the_least_recently_used_go_first(monkeypatch):
    monkeypatch.setattr(caching, "KEPT", 2)
    thing = Thing()
    for key in ("a", "b", "a", "c"):
        caching.remembered(thing, key, lambda key=key: key.upper())
    assert caching.remembered(thing, "a", lambda: "made again") == "A"
    assert caching.remembered(thing, "b", lambda: "made again") == "made again"


def test_functions_that_differ_are_told_apart():
    def scaled(by):
        return lambda x: x * by

    def defaulted(by):
        return lambda x, by=by: x * by

    for maker in (scaled, defaulted):
        assert caching.function_key(maker(2)) == caching.function_key(maker(2))
        assert caching.function_key(maker(2)) != caching.function_key(maker(3))
        assert caching.function_key(maker(2)) != caching.function_key(maker(2.0))
        array = np.ones(3)
        assert caching.function_key(maker(array)) == caching.function_key(maker(array.copy()))
        assert caching.function_key(maker(array)) != caching.function_key(maker(2 * array))
    assert caching.function_key(lambda x: x + 1) != caching.function_key(lambda x: x + 2)


def test_a_function_is_another_when_what_it_uses_has_changed():
    class Scale:
        def __init__(self):
            self.by, self.steps = 1.0, [1]

        def __call__(self, x):
            return x * self.by

    scale, array, table = Scale(), np.ones(3), {"by": 1.0}

    def scaled(x):
        return x * array * table["by"]

    seen = [caching.function_key(scale), caching.function_key(scaled), caching.function_key(scale.__call__)]
    again = [caching.function_key(scale), caching.function_key(scaled), caching.function_key(scale.__call__)]
    assert seen == again
    scale.by, array[1] = 2.0, 5.0
    changed = [
        caching.function_key(scale),
        caching.function_key(scaled),
        caching.function_key(scale.__call__),
    ]
    assert not any(one == other for one, other in zip(seen, changed, strict=True))
    array[1], table["by"] = 1.0, 3.0
    assert caching.function_key(scaled) not in (seen[1], changed[1])
    scale.steps.append(2)
    assert caching.function_key(scale) != changed[0]


def test_functions_that_refer_to_themselves_have_a_key():
    def countdown(n):
        return n if n == 0 else countdown(n - 1)

    assert caching.function_key(countdown) == caching.function_key(countdown)


LOOP = """
found = []
for scale in scales:
    found.append(key(lambda x: jnp.abs(x) * scale))
"""

HELPED = """
def helper(x):
    return (lambda: x * scale)()

found = []
for scale in scales:
    found.append(key(lambda x: helper(x)))
"""


@pytest.mark.parametrize("source", [LOOP, HELPED])
def test_a_global_that_changes_is_seen(source):
    """A loop at the top of a script: the lambda's code is the same each time, what it computes is not."""
    numbers = {"key": caching.function_key, "jnp": jnp, "scales": (1.0, 2.0, 2.0, 2)}
    exec(compile(source, "script", "exec"), numbers)
    one, two, again, whole = numbers["found"]
    assert two == again and len({one, two, whole}) == 3
    arrays = {"key": caching.function_key, "jnp": jnp, "scales": [np.ones(2), np.ones(2), np.zeros(2)]}
    exec(compile(source, "script", "exec"), arrays)
    assert arrays["found"][0] == arrays["found"][1] != arrays["found"][2]


def test_a_callable_without_a_hash_is_what_it_holds():
    class Scaled:
        __hash__ = None

        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by

    one, other = Scaled(1), Scaled(2)
    assert caching.function_key(one) == caching.function_key(Scaled(1)) != caching.function_key(other)
    assert hash(caching.function_key(one)) == hash(caching.function_key(one))


def test_descriptions_tell_values_apart_and_hold_no_address():
    def scaled(by, array=None):
        def function(x, plus=by):
            return by * x if array is None else array

        return function

    class Own:
        def __call__(self, x):
            return x + 1

    def another():
        class Own:
            def __call__(self, x):
                return x + 2

        return Own

    assert described(scaled(2)) == described(scaled(2)) != described(scaled(3))
    assert described(scaled(2, np.zeros(3))) != described(scaled(2, np.ones(3)))
    assert described(functools.partial(scaled(2), 1)) != described(functools.partial(scaled(2), 2))
    assert described(optax.add_decayed_weights(1e-4)) != described(optax.add_decayed_weights(1e-2))
    assert described(Own).rpartition("#")[2] != described(another()).rpartition("#")[2]
    for value in (scaled(2), Own(), Own, functools.partial(scaled(2), Own())):
        assert "0x" not in described(value)
