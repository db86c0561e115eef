"""`pwact report`: a study's folder as one HTML file."""

from __future__ import annotations

import pathlib

import typer

from pwact.cli.common import console

EXAMPLE = "Example: `pwact report runs/mnist5k-quick-1 --out report.html`"


def command(
    run: pathlib.Path = typer.Argument(help="The folder that a study wrote."),
    out: pathlib.Path | None = typer.Option(None, help="The file to make.", show_default="RUN/report.html"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
) -> None:
    """Draw the report of a study again, from its record and arrays; nothing is computed anew."""
    from pwact.report import write_report

    console.print(f"Report: {write_report(run, out, overwrite=overwrite)}", markup=False)
