"""All experiments that there are: the files of this folder named `eNN_name.py`, each with an `EXPERIMENT`."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from pwact.errors import PwactError
from pwact.experiment_record import RECORD, ExperimentRecord, read_experiment
from pwact.experiments.experiment import Experiment

HOME = Path(__file__).parent
FILE = re.compile(r"e(\d\d)_[a-z0-9_]+")


def modules() -> dict[int, str]:
    """The module of each experiment, by number.

    Raises:
        PwactError: two files of one number.
    """
    found: dict[int, str] = {}
    for module in pkgutil.iter_modules([str(HOME)]):
        if match := FILE.fullmatch(module.name):
            number = int(match[1])
            if number in found:
                raise PwactError(
                    f"one file for experiment {number}", f"{found[number]} and {module.name}", "remove one"
                )
            found[number] = module.name
    return dict(sorted(found.items()))


def find(number: int) -> Experiment:
    """The experiment of a number.

    Args:
        number: of the specification.

    Raises:
        PwactError: there is none, or its file holds another.
    """
    there = modules()
    if number not in there:
        raise PwactError(
            f"one of the experiments {', '.join(map(str, there)) or '(there are none yet)'}",
            f"{number}",
            "see pwact experiment --list",
        )
    experiment = importlib.import_module(f"{__package__}.{there[number]}").EXPERIMENT
    if experiment.stem != there[number]:
        raise PwactError(
            f"{there[number]} in its file", f"{experiment.stem}", "rename the file or correct it"
        )
    return experiment


def everything() -> list[Experiment]:
    """All experiments in the order of their numbers."""
    return [find(number) for number in modules()]


def last_results(runs: Path) -> dict[int, tuple[Path, ExperimentRecord]]:
    """The newest finished run of each experiment, with its folder.

    Args:
        runs: where run folders lie. What is damaged there is passed over.
    """
    found: dict[int, tuple[Path, ExperimentRecord]] = {}
    for path in sorted(runs.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime):
        try:
            record = read_experiment(path.parent)
        except PwactError:
            continue
        found[record.number] = path.parent, record
    return found
