"""`pwact experiment`: what a paper claims, measured against its criteria."""

from __future__ import annotations

import pathlib
from typing import Any, Literal

import typer

from pwact.cli.common import Stages, console, new_path

EXAMPLE = "Example: `pwact experiment 16 --seeds 5 --out runs/norm-loss`; `pwact experiment --list` shows all"


def command(
    number: int | None = typer.Argument(None, help="Of the experiment.", show_default=False),
    all_of_them: bool = typer.Option(
        False, "--list", help="Show all experiments, how they are known, what they claim, their last result."
    ),
    scale: Literal["small", "full"] = typer.Option("small", help="How much: small is what is specified."),
    seeds: int | None = typer.Option(None, min=1, help="Networks of each kind.", show_default="as specified"),
    out: pathlib.Path | None = typer.Option(
        None, help="Folder to make, or to go on in.", show_default="runs/experiment-NN-1, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the run in the folder."),
) -> None:
    """Run an experiment: print every figure against its criterion, write a record and a page.

    Exit code 1 if a criterion is missed. Killed, the same command goes on where it was.
    """
    if all_of_them == (number is not None):
        raise typer.BadParameter("say the experiment's number, or --list")
    if number is None:
        _list()
        return
    from pwact.experiments import begins_with, find, run_experiment
    from pwact.experiments.folder import PAGE, unfinished
    from pwact.experiments.registry import modules
    from pwact.report import render_experiment

    if number not in modules():
        raise typer.BadParameter(
            f"there is no experiment {number}; there are: {', '.join(map(str, modules())) or 'none yet'}"
        )
    experiment = find(number)
    if scale not in experiment.scales:
        raise typer.BadParameter(
            f"experiment {number} has the scale {', '.join(experiment.scales)}", param_hint="--scale"
        )
    stem = f"experiment-{number:02d}"
    going_on = unfinished(pathlib.Path("runs"), stem, begins_with(experiment, scale, seeds))
    folder = out or going_on or new_path(stem)
    console.print(f"{experiment.title} ({experiment.paper})", markup=False)
    if out is None and going_on:
        console.print(f"Going on in {folder}", markup=False)
    with Stages() as stages:
        record = run_experiment(
            experiment,
            folder,
            scale=scale,
            seeds=seeds,
            overwrite=overwrite,
            draw=render_experiment,
            progress=stages,
        )
    for line in lines_of(record):
        console.print(line, markup=False)
    console.print(f"Report: {folder / PAGE}", markup=False)
    if not record.met:
        raise typer.Exit(1)


def lines_of(record: Any) -> list[str]:
    """A line for every figure, against its criteria where it has some; one for every claim; the outcome.

    Args:
        record: of a finished run.
    """
    from pwact.report.experiment_page import shown

    lines = []
    for figure in record.figures:
        value = f"{figure.name}: {shown(figure.interval)}"
        rules = [each for each in record.criteria if each.rule.figure == figure.name]
        lines += [
            f"{'met     ' if each.met else 'MISSED  '}{value}  ({each.rule.words})" for each in rules
        ] or [f"        {value}"]
    lines += [f"Claim {each.answer}: {each.claim}" for each in record.claims]
    lines += [f"Note: {line}" for line in record.notes]
    outcome = record.sentence[0].upper() + record.sentence[1:]
    count = len(record.seeds)
    if count < record.seeds_specified:
        outcome += (
            f", but not judged as specified: {count} seed{'' if count == 1 else 's'}, "
            f"where {record.seeds_specified} are specified"
        )
    return [*lines, f"{outcome}."]


def _list() -> None:
    """A line or two for each experiment."""
    from pwact.experiments import everything, last_results

    last = last_results(pathlib.Path("runs"))
    for experiment in everything():
        console.print(
            f"{experiment.number:02d}  {experiment.name}  [{experiment.status}]  {experiment.claim}",
            markup=False,
        )
        if experiment.number in last:
            folder, record = last[experiment.number]
            count = len(record.seeds)
            console.print(
                f"    last: {record.sentence}, {count} seed{'' if count == 1 else 's'}, scale {record.scale}"
                f" ({folder})",
                markup=False,
            )
        else:
            console.print("    not run here yet", markup=False)
