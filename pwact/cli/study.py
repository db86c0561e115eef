"""`pwact study`: the point-wise activation study, from data to report."""

from __future__ import annotations

import pathlib
from typing import Any

import typer

from pwact.cli.common import DATASET, Stages, console, new_path, refuse_existing

EXAMPLE = "Example: `pwact study --preset quick --seeds 12 --out runs/twelve`"


def command(
    preset: str = typer.Option(
        "quick", help="How much: smoke (a minute, can give no verdict), quick (minutes) or full (hours)."
    ),
    dataset: str | None = typer.Option(None, help=DATASET, show_default="the preset's"),
    seeds: int | None = typer.Option(None, min=2, help="Networks of each kind.", show_default="the preset's"),
    out: pathlib.Path | None = typer.Option(
        None, help="Folder to make.", show_default="runs/DATASET-PRESET-1, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder if it is there."),
) -> None:
    """Train, sweep, edit, judge: which readings of the point-wise activation hypothesis hold?

    Writes study.json, arrays.nc, the networks and report.html into one folder, which appears when complete.
    """
    import dataclasses

    from pwact.report import write_report
    from pwact.studies import preset as named_preset
    from pwact.studies import run_study

    given: dict[str, Any] = {"dataset": dataset, "seeds": seeds}
    config = dataclasses.replace(named_preset(preset), **{k: v for k, v in given.items() if v is not None})
    folder = out or new_path(f"{config.dataset}-{preset}")
    refuse_existing(folder, overwrite)
    with Stages() as stages:
        record = run_study(config, folder, overwrite=overwrite, progress=stages)
        report = write_report(folder)
    for line in record.summary:
        console.print(line, markup=False)
    console.print(f"Report: {report}", markup=False)
