"""`pwact report`: the folder of a study or an experiment as one HTML file."""

from __future__ import annotations

import pathlib

import typer

from pwact.cli.common import console

EXAMPLE = "Example: `pwact report runs/mnist5k-quick-1 --out report.html`"


def command(
    run: pathlib.Path = typer.Argument(help="The folder that a study or an experiment wrote."),
    out: pathlib.Path | None = typer.Option(None, help="The file to make.", show_default="RUN/report.html"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
) -> None:
    """Draw the report of a study or an experiment again, from its record; nothing is computed anew."""
    from pwact.experiment_record import RECORD
    from pwact.report import write_experiment_page, write_report

    draw = write_experiment_page if (run / RECORD).is_file() else write_report
    console.print(f"Report: {draw(run, out, overwrite=overwrite)}", markup=False)
