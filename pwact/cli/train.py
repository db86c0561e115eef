"""`pwact train`: many seeds of one configuration."""

from __future__ import annotations

import pathlib
from typing import Any, Literal

import typer

from pwact.cli.common import DATASET, Stages, console, new_path, refuse_existing
from pwact.errors import PwactError

EXAMPLE = "Example: `pwact train digits --seeds 3 --epochs 5 --out runs/three`"


def command(
    dataset: str = typer.Argument("mnist5k", help=DATASET),
    seeds: int = typer.Option(10, min=1, help="Networks: seeds 0, 1, ..."),
    treatment: Literal["trained", "shuffled_labels", "untrained"] = typer.Option(
        "trained", help="What the networks learn."
    ),
    norm: Literal["none", "batch", "group", "layer"] = typer.Option("batch", help="After each convolution."),
    pooling: Literal["stride", "max", "average"] = typer.Option("stride", help="How maps shrink."),
    head: Literal["gap", "flatten"] = typer.Option("gap", help="Average each channel, or keep every point."),
    first_kernel_size: int = typer.Option(5, min=1, help="Of the first convolution."),
    epochs: int | None = typer.Option(
        None, min=1, help="Passes over the images.", show_default="the quick recipe's"
    ),
    batch_size: int | None = typer.Option(
        None, min=1, help="Images a step.", show_default="the quick recipe's"
    ),
    learning_rate: float | None = typer.Option(None, help="At its peak.", show_default="the quick recipe's"),
    split_seed: int = typer.Option(0, min=0, help="Of the split into 80 % train and 20 % test."),
    out: pathlib.Path | None = typer.Option(
        None, help="Folder to make.", show_default="runs/train-DATASET-1, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the folder if it is there."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the training in --out."),
) -> None:
    """Train networks, save them after every epoch, and print their held-out accuracy."""
    import dataclasses
    import shutil

    import pwact
    from pwact.models import quick
    from pwact.train import QUICK, Recipe, results_table, train
    from pwact.train.checkpoint import RECORD

    folder = out or new_path(f"train-{dataset}")
    if resume and overwrite:
        raise PwactError("--resume or --overwrite", "both", "choose one")
    if resume and out is None:
        raise PwactError("--out with the folder to resume", "--resume alone", "say --out FOLDER")
    if not resume:
        refuse_existing(folder, overwrite)
    data = pwact.data.load(dataset)
    parts = pwact.data.split(data, seed=split_seed)
    config = dataclasses.replace(
        quick(data.image_shape, data.num_classes),
        norm=norm,
        pooling=pooling,
        head=head,
        first_kernel_size=first_kernel_size,
    )
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    recipe: Recipe = dataclasses.replace(QUICK, **{k: v for k, v in given.items() if v is not None})
    if overwrite and folder.exists():
        if not (folder / RECORD).is_file():
            raise PwactError("a folder of `pwact train` to replace", f"{folder}", "choose another --out")
        shutil.rmtree(folder)
    with Stages() as stages:
        trained = train(
            config,
            parts["train"],
            seeds=range(seeds),
            recipe=recipe,
            test=parts["test"],
            treatment=treatment,
            folder=folder,
            resume=resume,
            progress=lambda done, total, sentence: stages(sentence, done / total),
        )
    table = results_table({folder.name: trained}, parts["test"])
    table.to_csv(folder / "results.csv", index=False)
    row = table.iloc[0]
    reach = f" (95 % interval over seeds: {row.low:.1%} to {row.high:.1%})" if len(trained) > 1 else ""
    console.print(
        f"{len(trained)} networks of {trained.parameters:,} parameters in {trained.seconds:.0f} s; "
        f"held-out accuracy {row.accuracy:.1%}{reach}",
        markup=False,
    )
    console.print(f"Saved: {folder} (next: pwact stats {folder} moments)", markup=False)
