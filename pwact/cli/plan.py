"""`pwact plan`: what `pwact stats` would take, before it is run."""

from __future__ import annotations

from rich.table import Table

from pwact.cli.common import console
from pwact.cli.question import (
    BatchSize,
    GradientOf,
    Images,
    Memory,
    MicroBatch,
    Network,
    RunFolder,
    Sites,
    Split,
    SplitSeed,
    Statistics,
    ask,
    bytes_of,
    logit_of,
)

EXAMPLE = (
    "Example: `pwact plan runs/train-mnist5k-1 moments 'by_class(top_k(9), num_classes=10)' --memory 0.5`"
)


def command(
    run: RunFolder,
    statistics: Statistics,
    sites: Sites = None,
    network: Network = None,
    dataset: Images = None,
    split: Split = "all",
    split_seed: SplitSeed = 0,
    gradient_of: GradientOf = None,
    batch_size: BatchSize = 256,
    micro_batch: MicroBatch = None,
    memory: Memory = None,
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
