"""Imports point down only: read from the source, so that an arrow that goes up fails here."""

from __future__ import annotations

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "pwact"

GROUND = {"errors", "types", "records", "experiment_record", "_version"}
DOORS = {"objectives", "regularizers", "updates", "initializers", "callbacks", "edits"}
METHODS = {"core", "stats", "data", "nn", "models", "train"} | DOORS
MAY_IMPORT = {
    "errors": set(),
    "_version": set(),
    "types": {"errors"},
    "records": {"errors"},
    "experiment_record": {"errors", "records"},
    "core": {"errors", "types", "_version"},
    "stats": {"errors", "types", "core"},
    "data": {"errors", "types", "core"},
    "nn": {"errors", "types", "core"},
    "models": {"errors", "types", "core", "nn"},
    **{door: {"errors", "types", "core", "stats"} for door in DOORS},
    "train": {"errors", "types", "records", "_version", "core", "data", "nn", "models"} | DOORS,
    "studies": GROUND | METHODS,
    "experiments": GROUND | METHODS | {"studies", "pwact itself"},
    "report": {"errors", "records", "experiment_record", "_version"},
    "cli": GROUND | METHODS | {"studies", "experiments", "report", "pwact itself"},
    "__init__": {"_version"},
    "__main__": {"cli"},
}


def room_of(path: pathlib.Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def rooms_imported(source: str) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            rooms.add("a relative import")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pwact":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "pwact":
                    rooms.add(parts[1] if len(parts) > 1 else "pwact itself")
    return rooms


def third_party_imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path):
    room = room_of(path)
    upward = rooms_imported(path.read_text()) - MAY_IMPORT[room] - {room}
    assert not upward, f"{path.name} in {room} imports {sorted(upward)}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if room_of(p) in {"report", "records", "experiment_record", "errors"}],
    ids=lambda p: p.name,
)
def test_reports_and_records_know_no_jax(path):
    assert not third_party_imported(path.read_text()) & {"jax", "flax", "optax", "orbax"}


def test_an_upward_arrow_would_be_seen():
    assert rooms_imported("from pwact.cli import main") - MAY_IMPORT["core"] == {"cli"}
    assert rooms_imported("import pwact.studies.run") - MAY_IMPORT["stats"] == {"studies"}
    assert rooms_imported("from pwact import train") - MAY_IMPORT["data"] == {"train"}
    assert rooms_imported("from pwact.updates import mltp") - MAY_IMPORT["objectives"] == {"updates"}
