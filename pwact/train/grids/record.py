"""The folder of a grid: what it says of itself, and that no other grid and no second process uses it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pwact.core.one_process import one_process
from pwact.core.provenance import MADE_BY, machine
from pwact.errors import PwactError
from pwact.records import write_text

RECORD = "grid.json"
SCHEMA = 1
TRAINING = ".training"
"""Folder of groups in training, within a grid's."""

FILES = ("results.csv", "results.nc", "differences.csv", "seconds.csv", "figure.svg", "figure.png")
"""What stands in a grid's folder beside its record and its cells."""


@contextlib.contextmanager
def opened(folder: Path, asked: dict[str, Any], command: str) -> Iterator[dict[str, Any]]:
    """The folder of this very grid, made if it is not there, and used by this process alone.

    Args:
        folder: of the grid.
        asked: what decides its networks; a folder that was asked for something else is refused.
        command: that repeats it.

    Yields:
        The record: `asked`, by what it was begun, and how to repeat it.

    Raises:
        PwactError: the folder is another grid's (what differs is named), holds something else, is in use, or
            cannot be written.
    """
    asked = json.loads(json.dumps(asked, allow_nan=False))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        do = "make room, or choose a folder that is yours"
        raise PwactError(
            f"a folder that can be written at {str(folder)!r}", error.strerror or str(error), do
        ) from error
    with one_process(folder):
        found = read(folder)
        if found is None:
            strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
            if strangers:
                raise PwactError(
                    "a folder of a grid, or none",
                    f"{', '.join(strangers[:3])} and no {RECORD} in {str(folder)!r}",
                    "choose another folder",
                )
            here = machine()
            found = {"schema": SCHEMA, "asked": asked, "command": command, "begun": here, "finished": None}
            _write(folder, found)
        elif different := differences_between(asked, found["asked"]):
            raise PwactError(
                f"the grid that {str(folder)!r} was begun with",
                "; ".join(different[:4]),
                "choose another folder",
            )
        tidy(folder, [RECORD, *FILES, *asked["cells"]])
        yield found


def read(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its grid; None where it says nothing."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        schema = found["schema"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PwactError(
            f"a readable {RECORD} in {str(folder)!r}", str(error), "choose another folder"
        ) from error
    if schema != SCHEMA:
        raise PwactError(
            f"a grid of schema {SCHEMA}",
            f"{schema} in {str(folder)!r}",
            "finish it with the pwact that began it",
        )
    return dict(found)


def finish(folder: Path, found: dict[str, Any]) -> None:
    """Note in the record that everything is trained and written."""
    if found["finished"] is None:
        _write(folder, {**found, "finished": machine()["created"]})


def check_made_here(record: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other versions, or on another kind of machine, than the grid was begun with."""
    here = machine()
    begun, now = ({name: each[name] for name in MADE_BY} for each in (record["begun"], here))
    if different := differences_between(now, begun):
        raise PwactError(
            f"the versions and device that {str(folder)!r} was begun with, as cells are still to be trained",
            "; ".join(different),
            "finish it with those, or begin another folder",
        )


def differences_between(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, in words.

    Example:
        >>> differences_between({"seeds": [0, 1], "mode": "grid"}, {"seeds": [0], "mode": "grid"})
        ['seeds: [0] there, [0, 1] asked for']
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = [*wanted, *(name for name in found if name not in wanted)]
        return [
            each
            for name in names
            for each in differences_between(wanted.get(name), found.get(name), f"{path}.{name}".lstrip("."))
        ]
    return [] if wanted == found else [f"{path}: {_short(found)} there, {_short(wanted)} asked for"]


def remove(folder: Path) -> None:
    """Take a grid's folder away.

    Raises:
        PwactError: it is no grid's.
    """
    if read(folder) is None:
        raise PwactError(
            "a folder of a grid to replace", f"no {RECORD} in {str(folder)!r}", "choose another folder"
        )
    shutil.rmtree(folder)


def _write(folder: Path, found: dict[str, Any]) -> None:
    write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", folder / RECORD)


def tidy(folder: Path, names: Iterable[str]) -> None:
    """Remove what a kill left half-written of things that have these names when they are whole."""
    hidden = tuple(f".{name}." for name in names)
    for path in folder.iterdir():
        if path.name.startswith(hidden):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]} ..."
