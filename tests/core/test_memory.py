from __future__ import annotations

import gc

import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core import memory


class Thing:
    pass


def test_made_once_for_a_key_and_forgotten_with_the_thing():
    thing, made = Thing(), []

    def make():
        made.append(1)
        return len(made)

    assert [memory.remembered(thing, "a", make), memory.remembered(thing, "a", make)] == [1, 1]
    assert memory.remembered(thing, "b", make) == 2
    assert memory.remembered(Thing(), "a", make) == 3
    key = id(thing)
    assert key in memory._MEMORY
    del thing
    gc.collect()
    assert key not in memory._MEMORY


def test_the_least_recently_used_go_first(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 2)
    thing = Thing()
    for key in ("a", "b", "a", "c"):
        memory.remembered(thing, key, lambda key=key: key.upper())
    assert memory.remembered(thing, "a", lambda: "made again") == "A"
    assert memory.remembered(thing, "b", lambda: "made again") == "made again"


def test_functions_that_differ_are_told_apart():
    def scaled(by):
        return lambda x: x * by

    def defaulted(by):
        return lambda x, by=by: x * by

    for maker in (scaled, defaulted):
        assert memory.function_key(maker(2)) == memory.function_key(maker(2))
        assert memory.function_key(maker(2)) != memory.function_key(maker(3))
        assert memory.function_key(maker(2)) != memory.function_key(maker(2.0))
        array = np.ones(3)
        assert memory.function_key(maker(array)) != memory.function_key(maker(array))  # it may change
    assert memory.function_key(lambda x: x + 1) != memory.function_key(lambda x: x + 2)


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
    numbers = {"key": memory.function_key, "jnp": jnp, "scales": (1.0, 2.0, 2.0, 2)}
    exec(compile(source, "script", "exec"), numbers)
    one, two, again, whole = numbers["found"]
    assert two == again and len({one, two, whole}) == 3
    arrays = {"key": memory.function_key, "jnp": jnp, "scales": [np.ones(2)] * 2}
    exec(compile(source, "script", "exec"), arrays)
    assert arrays["found"][0] != arrays["found"][1]


def test_functions_that_call_themselves_are_told_apart_by_identity():
    def maker():
        def again(x):
            return again(x - 1) if x else 0

        return again

    first, second = maker(), maker()
    assert memory.function_key(first) == memory.function_key(first) != memory.function_key(second)


def test_a_callable_without_a_hash_is_itself():
    class Scaled:
        __hash__ = None

        def __call__(self, x):
            return x

    one, other = Scaled(), Scaled()
    assert memory.function_key(one) == memory.function_key(one) != memory.function_key(other)
    assert hash(memory.function_key(one)) == hash(memory.function_key(one))
