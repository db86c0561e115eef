"""`pwact plan`: what `pwact stats` would take, before it is run."""

from __future__ import annotations

import pathlib

import typer
from rich.table import Table

from pwact.cli.common import DATASET, console
from pwact.cli.stats import ask, bytes_of, logit_of

EXAMPLE = (
    "Example: `pwact plan runs/train-mnist5k-1 moments 'by_class(top_k(9), num_classes=10)' --memory 0.5`"
)


def command(
    run: pathlib.Path = typer.Argument(help="A folder that `pwact train` made."),
    statistics: list[str] = typer.Argument(help="Statistics, as in pwact.stats; NAME=STATISTIC names one."),
    sites: list[str] | None = typer.Option(
        None, help="A site; repeat for more.", show_default="the ReLU maps"
    ),
    network: int | None = typer.Option(None, help="The seed of the network.", show_default="the first"),
    dataset: str | None = typer.Option(None, help=DATASET, show_default="those of the training"),
    split: str = typer.Option("all", help="all, or train or test as `pwact train` split them."),
    split_seed: int = typer.Option(0, min=0, help="Of that split."),
    gradient_of: str | None = typer.Option(
        None, help="The logit that gradients are of: of the label, or of the prediction."
    ),
    batch_size: int = typer.Option(256, help="Images read at once."),
    micro_batch: int | None = typer.Option(
        None, min=1, help="Images computed on at once.", show_default="by size, or by a trial"
    ),
    memory: float | None = typer.Option(
        None, help="GiB that it may take.", show_default="nine tenths of what is free"
    ),
) -> None:
    """Say what `pwact stats` with the same options would take: memory, readings of the dataset, time."""
    import pwact
    from pwact.core.sweep.preview import bytes_told, seconds_told

    question = ask(run, statistics, sites, network, dataset, split, split_seed)
    plan = pwact.plan(
        question.probe,
        question.variables,
        question.data,
        question.statistics,
        sites=question.sites,
        preprocess=question.trained.preprocess,
        gradient_of=logit_of(gradient_of),
        batch_size=batch_size,
        micro_batch=micro_batch,
        memory=bytes_of(memory),
    )
    table = Table("what", "how much", show_header=False, box=None, pad_edge=False)
    for what, told in plan.rows():
        table.add_row(what, told)
    console.print(table)
    if len(plan.groups) > 1:
        console.print("\nWhat does not fit together is swept one group after the other:")
        groups = Table(
            "group", "passes", "state", "peak", "computing", "statistics", box=None, pad_edge=False
        )
        for number, group in enumerate(plan.groups, 1):
            parts = "; ".join(f"{node}: {', '.join(names)}" for node, names in group.statistics.items())
            sizes = bytes_told(group.state_bytes), bytes_told(group.peak_bytes), seconds_told(group.seconds)
            groups.add_row(str(number), str(group.passes), *sizes, parts)
        console.print(groups)
