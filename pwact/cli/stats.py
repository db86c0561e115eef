"""`pwact stats`: statistics of a trained network over a dataset."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shlex
import sys
from typing import Any

import typer

from pwact.cli.common import Stages, console, folder_of, new_path, refuse_existing
from pwact.cli.question import (
    BatchSize,
    GradientOf,
    Images,
    List,
    Memory,
    MicroBatch,
    Network,
    Question,
    RunFolder,
    Sites,
    Split,
    SplitSeed,
    Statistics,
    ask,
    bytes_of,
    logit_of,
)
from pwact.errors import PwactError

EXAMPLE = (
    "Example: `pwact stats runs/train-mnist5k-1 moments 'strongest=top_k(9)' "
    "'by_class(firing(), num_classes=10)' 'of_gradient(moments())' 'cka()' "
    "--gradient-of label --sites blocks.0.relu --sites blocks.1.relu`"
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
    out: pathlib.Path | None = typer.Option(
        None, help="The file to make.", show_default="runs/stats-1.nc, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
    save_every: float = typer.Option(60.0, min=0, help="Seconds between two saves of how far it is."),
    fresh: bool = typer.Option(
        False, "--fresh", help="Begin anew, whatever an interrupted command has kept."
    ),
    every: List = False,
) -> None:
    """Compute statistics of every point over a whole dataset and save them as netCDF4 (opens in xarray).

    Killed or interrupted, the same command goes on where it was.
    """
    import pwact
    from pwact.core import save_results
    from pwact.core.one_process import one_process
    from pwact.core.sweep.state_file import StateFile

    asked = [
        run,
        statistics,
        sites,
        network,
        dataset,
        split,
        split_seed,
        gradient_of,
        batch_size,
        micro_batch,
    ]
    path = out or new_path("stats", ".nc")
    refuse_existing(path, overwrite)
    with folder_of(path) as folder:
        question = ask(run, statistics, sites, network, dataset, split, split_seed)
        state = folder / f".{path.name if out else 'stats-' + _hash(asked)}.state"
        if fresh:
            with StateFile(state) as file:
                file.remove()
        with Stages() as stages:
            results = pwact.sweep(
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
                progress=Progress(stages, question),
                state=state,
                save_every=save_every,
                keep_state=True,
            )
        results.attrs |= {
            "run": str(run),
            "network_seed": question.seed,
            "split": split,
            "split_seed": split_seed,
            "asked": json.dumps(statistics),
            "command": shlex.join(["pwact", *sys.argv[1:]]),
        }
        try:
            with one_process(folder, wait=True):  # two commands must not find the same name free
                path = out or new_path("stats", ".nc")
                save_results(results, path, overwrite=overwrite)
        except PwactError as error:
            told = f"{error.do}; the statistics are kept: make the same call again to save them"
            raise PwactError(error.expected, error.found, told) from error
        StateFile(state).remove()
    _tell(results, question, split)
    console.print(f"Saved: {path} (opens with pwact.open_results or xarray.open_datatree)", markup=False)


class Progress:
    """Where a sweep is, and at first whether it goes on from somewhere."""

    def __init__(self, stages: Stages, question: Question):
        self.stages, self.begun, self.images = stages, False, len(question.data)

    def __call__(self, done: int, total: int) -> None:
        if not self.begun and done:
            passes = total // self.images
            readings = f", {passes} readings of {self.images:,}" if passes > 1 else ""
            console.print(f"Resuming at image {done:,} of {total:,}{readings}.", markup=False)
        self.begun = True
        self.stages("Sweeping", done / total)


def _hash(asked: list[Any]) -> str:
    """What tells apart the states of commands that do not say --out."""
    return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:12]


def _tell(results: Any, question: Question, split: str) -> None:
    for node in results.children.values():
        for name, array in node.data_vars.items():
            shape = ", ".join(f"{dim} {size}" for dim, size in array.sizes.items())
            what = f"({shape})" if shape else f"= {array.item():.6g}"
            console.print(f"{node.attrs['site']}: {name} {what}", markup=False)
    attrs, data = results.attrs, question.data
    console.print(f"{len(data):,} images: {split} of {data.name.removesuffix('/' + split)}", markup=False)
    waited, seconds = attrs["seconds_waiting_for_images"], attrs["seconds"]
    if waited > seconds / 2:
        console.print(
            f"Reading images is what takes long: the network waited {waited:.0f} of {seconds:.0f} seconds."
        )
    if "state_damage" in attrs:
        console.print(f"Gone on from the state before the last: {attrs['state_damage']}", markup=False)
