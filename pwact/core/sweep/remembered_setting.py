"""Which setting a sweep was computed with: a small file in the user's cache, by program and machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from pwact.core.backend import Setting, this_machine
from pwact.core.cache_folder import cache_folder
from pwact.core.provenance import machine

FORMAT = "pwact setting 1"


def path_of(program: str, images: int) -> Path | None:
    """The file of a program; None where there is no folder to keep it in.

    Args:
        program: sha256 of its text.
        images: that it is computed for, all readings of the dataset together.
    """
    folder = cache_folder("settings")
    if folder is None:
        return None
    asked = "\n".join([program, str(images), machine()["versions"], this_machine()])
    return folder / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"


def load(path: Path | None, candidates: list[Setting]) -> Setting | None:
    """The setting that a file tells of, if it is one of the candidates; anything else is ignored."""
    if path is None:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        told = json.loads(path.read_text(encoding="utf-8"))
        setting = Setting(told["micro_batch"], tuple(sorted(told["compiler_options"].items())))
        if told["format"] == FORMAT and setting in candidates:
            return setting
    return None


def save(path: Path | None, setting: Setting, seconds: dict[Setting, float]) -> None:
    """Write it in one step; where that fails the next sweep decides anew.

    Args:
        path: the file.
        setting: the one that was taken.
        seconds: of one load with each setting that was timed, for who reads the file.
    """
    if path is None:
        return
    told = {
        "format": FORMAT,
        "micro_batch": setting.micro_batch,
        "compiler_options": dict(setting.options),
        "seconds_a_load": [
            {
                "micro_batch": each.micro_batch,
                "compiler_options": dict(each.options),
                "seconds": round(taken, 6),
            }
            for each, taken in seconds.items()
        ],
    }
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        written.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        os.replace(written, path)
