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
    for name in ("grid.json", "checkpoint.json"):
        try:
            found = json.loads((folder / name).read_text())
            made = found.get("made", found)
            done = found["finished"] is not None if name == "grid.json" else found["step"] == found["steps"]
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        return made.get("command") == command and not done
    return False


def default_folder(stem: str, command: str) -> pathlib.Path:
    """The first of runs/STEM-1, runs/STEM-2, ... that is free, or where this very command was stopped."""
    new = new_path(stem)
    numbered = sorted(new.parent.glob(f"{new.name.rpartition('-')[0]}-*"))
    return next((path for path in numbered if is_unfinished(path, command)), new)
