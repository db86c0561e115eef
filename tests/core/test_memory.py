from __future__ import annotations

import gc

import numpy as np

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
