"""`pwact sites`: the places of a network that statistics and edits can name."""

from __future__ import annotations

import pathlib
from typing import Any

import typer

from pwact.cli.common import console
from pwact.errors import PwactError

EXAMPLE = "Example: `pwact sites runs/train-mnist5k-1`"


def command(
    run: pathlib.Path | None = typer.Argument(
        None, help="A folder that `pwact train` made.", show_default="the standard network"
    ),
    dataset: str | None = typer.Option(
        None, help="Without RUN: whose images the standard network takes.", show_default="mnist5k"
    ),
) -> None:
    """Print every site: operation, shape, bytes per image, receptive field."""
    import numpy as np

    import pwact
    from pwact.models import build, quick
    from pwact.train import load_checkpoint

    config: Any
    if run is None:
        data = pwact.data.load(dataset or "mnist5k")
        config = quick(data.image_shape, data.num_classes)
    elif dataset is not None:
        raise PwactError("a run, or --dataset", f"{run} and --dataset {dataset}", "leave one of them out")
    else:
        config = load_checkpoint(run).config
    probe = pwact.probe(build(config, 0), np.zeros((1, *config.image_shape), np.float32))
    console.print(repr(probe), markup=False)
