"""The folder of a run: begun, gone on with, finished, replaced; never somebody else's."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pwact.core.one_process import one_process
from pwact.errors import PwactError
from pwact.experiment_record import RECORD
from pwact.experiments.arms import NETWORKS
from pwact.records import write_text

BEGUN = "begun.json"
TABLES = "tables"
PAGE = "report.html"
MADE = (RECORD, PAGE, NETWORKS, TABLES)
"""What a run leaves besides `begun.json`, and what replacing it takes away."""


def begun(folder: Path) -> dict[str, Any] | None:
    """What a folder was begun with; None if it was not by an experiment, or is damaged."""
    try:
        found = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def unfinished(runs: Path, stem: str, wanted: Mapping[str, Any]) -> Path | None:
    """The first folder of that stem in `runs` that the same command began and did not finish."""
    there = sorted(runs.glob(f"{stem}-*"), key=lambda path: (len(path.name), path.name))
    same = (path for path in there if begun(path) == wanted and not (path / RECORD).exists())
    return next(same, None)


@contextlib.contextmanager
def run_folder(folder: Path, wanted: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to work in, held for this process alone.

    Args:
        folder: a new one, an empty one, or one that was begun with the same `wanted` and not finished.
        wanted: what is run, as JSON holds it.
        overwrite: replace the run that is there; one to go on with is not replaced.

    Yields:
        The folder, which says what was begun.

    Raises:
        PwactError: it holds a finished run, another run or something else, is in use, or cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / BEGUN).exists():
                if any(folder.iterdir()):
                    raise PwactError(
                        "a new folder, or one of an experiment",
                        f"other files in {folder}",
                        "choose another folder",
                    )
                write_text(json.dumps(wanted, indent=1) + "\n", folder / BEGUN)
            held.enter_context(one_process(folder))
            _check(folder, wanted, overwrite)
        except OSError as error:
            raise PwactError(
                f"a folder that can be written at {folder}",
                error.strerror or str(error),
                "make room there, or choose a folder that is yours",
            ) from error
        yield folder


def _check(folder: Path, wanted: Mapping[str, Any], overwrite: bool) -> None:
    found = begun(folder)
    if overwrite and found == wanted and not (folder / RECORD).exists():
        return
    if overwrite:
        for name in MADE:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if found != wanted:
            # Written in place, as another file would not be the one that is held.
            (folder / BEGUN).write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        return
    if found is None:
        raise PwactError(
            f"{BEGUN} of an experiment in {folder}", "a damaged file", "pass overwrite=True or choose another"
        )
    if found != wanted:
        differ = [name for name in wanted if found.get(name) != wanted[name]]
        raise PwactError(
            f"a folder begun with {', '.join(f'{name} {_said(wanted[name])}' for name in differ)}",
            f"{', '.join(_said(found.get(name)) for name in differ)} in {folder}",
            "choose another folder or pass overwrite=True",
        )
    if (folder / RECORD).exists():
        raise PwactError(
            "a folder without a finished run", f"{folder}", "choose another folder or pass overwrite=True"
        )


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
