"""One experiment, from its description to a folder with everything that was found."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pwact.core.caching import described
from pwact.core.provenance import machine
from pwact.errors import PwactError
from pwact.experiment_record import RECORD, ExperimentRecord
from pwact.experiments.arms import Setting
from pwact.experiments.experiment import Experiment
from pwact.experiments.folder import PAGE, TABLES, run_folder
from pwact.experiments.identity import library_hash, slug
from pwact.experiments.judge import answered, figures_of, judged
from pwact.records import write_record, write_text


def run_experiment(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    scale: str = "small",
    seeds: int | None = None,
    overwrite: bool = False,
    draw: Callable[[ExperimentRecord], str] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ExperimentRecord:
    """Run an experiment and leave its record, its tables and its networks in a folder.

    A run that was killed goes on with the same call: arms that are trained are read again, an arm in the
    middle of its training goes on from its last epoch.

    Args:
        experiment: what to run; see `pwact.experiments.find`.
        folder: where `experiment.json`, `tables/` and `networks/` go. A new one, or one of the same run
            that was not finished.
        scale: `small`, or `full` where the experiment has it.
        seeds: networks of each kind; as specified if not given.
        overwrite: replace the run in the folder; one that was killed still goes on.
        draw: makes the page of a record, e.g. `pwact.report.render_experiment`; written as `report.html`.
        progress: called with (what is being done, share of the whole that is done).

    Returns:
        The record that was written, last of all files.

    Raises:
        PwactError: a scale that it does not have; a folder of another run, a finished one, or one that
            cannot be written; figures that are not those described.
        KeyboardInterrupt: on Ctrl-C; its message says how to go on.
    """
    started = time.perf_counter()
    wanted = begins_with(experiment, scale, seeds)
    say = progress or (lambda stage, done: None)
    try:
        with run_folder(Path(folder), wanted, overwrite=overwrite) as place:
            setting = Setting(scale, tuple(wanted["seeds"]), place)  # type: ignore[arg-type]
            say(f"experiment {experiment.number}", 0.0)
            outcome = experiment.run(setting, say)
            setting.drop_others()
            figures = figures_of(experiment, outcome, len(setting.seeds))
            record = ExperimentRecord(
                experiment.number,
                experiment.name,
                experiment.title,
                experiment.paper,
                experiment.claim,
                list(experiment.parts),
                scale,
                list(setting.seeds),
                experiment.seeds,
                list(figures.values()),
                [judged(rule, figures) for rule in experiment.criteria],
                [answered(claim, figures) for claim in experiment.claims],
                list(outcome.tables),
                list(outcome.curves),
                setting.trained,
                [*experiment.remarks, *outcome.notes],
                _provenance(experiment, wanted, time.perf_counter() - started),
            )
            _write_tables(record, place / TABLES)
            if draw is not None:
                write_text(draw(record), place / PAGE)
            write_record(record, place / RECORD)
            say("done", 1.0)
            return record
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is trained is kept in {folder}; make the same call again to go on."
        ) from None


def begins_with(experiment: Experiment, scale: str = "small", seeds: int | None = None) -> dict[str, Any]:
    """What tells a run from others: the experiment, its scale and its seeds.

    Raises:
        PwactError: a scale that the experiment does not have, or no seed.
    """
    count = experiment.seeds if seeds is None else seeds
    if scale not in experiment.scales:
        raise PwactError(
            f"a scale that {experiment.stem} has: {', '.join(experiment.scales)}", repr(scale), "pick one"
        )
    if count < 1:
        raise PwactError("one seed or more", f"{count}", "ask for more")
    return {
        "experiment": experiment.stem,
        "scale": scale,
        "seeds": list(range(experiment.first_seed, experiment.first_seed + count)),
    }


def _provenance(experiment: Experiment, wanted: dict[str, Any], seconds: float) -> dict[str, Any]:
    code = getattr(experiment.run, "__code__", None)
    source = Path(code.co_filename) if code else Path()
    return {
        **machine(),
        "seconds": round(seconds, 1),
        "command": f"pwact experiment {experiment.number} --scale {wanted['scale']} "
        f"--seeds {len(wanted['seeds'])}",
        "experiment_sha256": hashlib.sha256(source.read_bytes()).hexdigest()
        if source.is_file()
        else f"not in a file: {described(experiment.run)}",
        "library_sha256": library_hash(),
    }


def _write_tables(record: ExperimentRecord, folder: Path) -> None:
    """What the record holds, for other tools: figures and curves in long form, each table as it is."""
    folder.mkdir(exist_ok=True)
    rows: list[Sequence[Any]] = []
    for figure in record.figures:
        seeds = [""] if figure.kind == "number" else record.seeds
        rows += [
            (figure.name, figure.kind, seed, value) for seed, value in zip(seeds, figure.values, strict=True)
        ]
    _write_csv(folder / "figures.csv", ("figure", "kind", "seed", "value"), rows)
    rows = [
        (curve.title, line.name, place, x, value)
        for curve in record.curves
        for line in curve.lines
        for place, values in enumerate(line.values)
        for x, value in zip(curve.x, values, strict=True)
    ]
    if rows:
        _write_csv(folder / "curves.csv", ("curve", "line", "seed_place", "x", "value"), rows)
    for place, table in enumerate(record.tables, 1):
        _write_csv(folder / f"{place:02d}-{slug(table.title)}.csv", table.columns, table.rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(text.getvalue(), path)
