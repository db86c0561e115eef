"""The command that is running, and the folder that it was interrupted in."""

from __future__ import annotations

import inspect
import json
import pathlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from typer.models import ArgumentInfo

from pwact.cli.common import new_path
from pwact.errors import PwactError

LAST = {"grid.json": "figure.png", "checkpoint.json": "results.csv"}
"""By record: what a command writes last."""


def command_line(command: Callable[..., None], values: Mapping[str, Any], but: tuple[str, ...] = ()) -> str:
    """What a person would write to run a command again, in the order of its `--help`.

    Args:
        command: the function that typer calls.
        values: of its parameters; those that are its defaults are left out.
        but: what else is left out.
    """
    words = ["pwact", command.__module__.rpartition(".")[2]]
    for name, parameter in inspect.signature(command).parameters.items():
        declared, value = parameter.default, values[name]
        if name in but or value == declared.default:
            continue
        option = f"--{name.strip('_').replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(declared, ArgumentInfo):
                words.append(str(each))
            else:
                words += [option] if each is True else [option, str(each)]
    return shlex.join(words)


def is_unfinished(folder: pathlib.Path, command: str) -> bool:
    """Whether this very command was stopped in a folder before it was done."""
    return _unfinished(folder, command) is not None


def can_go_on(folder: pathlib.Path, command: str, images: Any) -> bool:
    """Whether what this very command left unfinished in a folder is whole, and goes on to the same bits.

    Args:
        folder: of a training or a grid.
        command: that is running.
        images: its training images.
    """
    from pwact.core.provenance import MADE_BY, machine
    from pwact.train.checkpoint import read

    found = _unfinished(folder, command)
    if found is None:
        return False
    try:
        if "asked" in found:
            begun, data = found["begun"], found["asked"]["data"]["train"]
            places = [folder / name for name in found["asked"]["cells"] if (folder / name).exists()]
            places += [path.parent for path in folder.glob(".training/*/checkpoint.json")]
        else:
            begun, data, places = found["made"], found["data"], [folder]
        here = machine()
        same = all(begun[name] == here[name] for name in MADE_BY)
        same &= all(data[name] == getattr(images, name) for name in ("name", "fingerprint", "index_hash"))
        for place in places if same else ():
            read(place)
    except (PwactError, KeyError, TypeError):
        return False
    return same


def _unfinished(folder: pathlib.Path, command: str) -> dict[str, Any] | None:
    """The record of what this very command left unfinished in a folder."""
    for name, last in LAST.items():
        try:
            found = json.loads((folder / name).read_text())
            made = found.get("made", found)
            done = found["finished"] is not None if name == "grid.json" else found["step"] == found["steps"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        done = done and (folder / last).is_file()
        return dict(found) if made.get("command") == command and not done else None
    return None


def default_folder(stem: str, command: str) -> pathlib.Path:
    """The first of runs/STEM-1, runs/STEM-2, ... that is free, or where this very command was stopped."""
    new = new_path(stem)
    numbered = sorted(new.parent.glob(f"{new.name.rpartition('-')[0]}-*"))
    return next((path for path in numbered if is_unfinished(path, command)), new)
