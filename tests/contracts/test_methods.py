"""What every method that a configuration holds as text must keep to, whatever its room."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pwact.core.caching import described
from pwact.core.registry import resolve
from pwact.errors import PwactError
from pwact.nn import norms

from .rooms import ROOMS


@pytest.mark.parametrize(
    ("room", "name"), [(room, name) for room in ROOMS for name in ROOMS[room][0]], ids=lambda x: str(x)[:40]
)
def test_text_makes_one_object_and_the_object_says_the_text(room, name):
    rows, kind = ROOMS[room]
    made = resolve(rows[name].text, room)
    assert isinstance(made, kind) and resolve(rows[name].text, room) is made
    assert resolve(described(made), room) is made
    assert hash(made) == hash(resolve(described(made), room))


@pytest.mark.parametrize(
    ("room", "text"),
    [(room, text) for room in ROOMS for row in ROOMS[room][0].values() for text in row.refused],
)
def test_wrong_arguments_are_refused(room, text):
    with pytest.raises(PwactError) as error:
        resolve(text, room)
    assert error.value.found and error.value.do


@pytest.mark.parametrize(("room", "factory"), [(room, name) for room in ROOMS for name in room.__all__])
def test_every_public_method_has_a_row_and_says_where_it_comes_from(room, factory):
    found = complaints(factory, getattr(room, factory), ROOMS[room][0])
    assert not found, found


def complaints(name: str, factory: Any, rows: dict[str, Any]) -> list[str]:
    text = inspect.getdoc(factory) or ""
    found = [
        f"{name}: no '{part}' in its docstring"
        for part in ("Returns:", "Raises:", "Example:", "Status:")
        if part not in text
    ]
    if not ("Reference:" in text or "Source:" in text):
        found.append(f"{name}: its docstring names no Reference: or Source:")
    if name not in {row.text.partition("(")[0] for row in rows.values()}:
        found.append(f"{name}: no row in tests/contracts/rows")
    return found


def test_a_method_without_row_or_source_would_be_seen():
    def instance():
        """Each channel of each image."""

    assert len(complaints("instance", instance, ROOMS[norms][0])) == 6
