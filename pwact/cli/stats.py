"""`pwact stats`: statistics of a trained network over a dataset."""

from __future__ import annotations

import ast
import json
import pathlib
import shlex
import sys
from typing import Any

import typer

from pwact.cli.common import Stages, console, new_path, refuse_existing
from pwact.errors import PwactError

EXAMPLE = (
    "Example: `pwact stats runs/train-mnist5k-1 moments 'strongest=top_k(9)' "
    "'by_class(firing(), num_classes=10)' --sites blocks.1.relu`"
)


def command(
    run: pathlib.Path = typer.Argument(help="A folder that `pwact train` made."),
    statistics: list[str] = typer.Argument(help="Statistics, as in pwact.stats; NAME=STATISTIC names one."),
    sites: list[str] | None = typer.Option(
        None, help="A site; repeat for more.", show_default="the ReLU maps"
    ),
    network: int | None = typer.Option(None, help="The seed of the network.", show_default="the first"),
    dataset: str | None = typer.Option(None, help="Which images.", show_default="those of the training"),
    split: str = typer.Option("all", help="all, or train or test as `pwact train` split them."),
    split_seed: int = typer.Option(0, min=0, help="Of that split."),
    batch_size: int = typer.Option(256, help="Images read at once."),
    out: pathlib.Path | None = typer.Option(
        None, help="The file to make.", show_default="runs/stats-1.nc, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
) -> None:
    """Compute statistics of every point over a whole dataset and save them as netCDF4 (opens in xarray)."""
    import numpy as np

    import pwact
    from pwact.core import save_results
    from pwact.core.registry import resolve
    from pwact.models import build
    from pwact.train import load_checkpoint

    path = out or new_path("stats", ".nc")
    refuse_existing(path, overwrite)
    chosen = {}
    for text in statistics:
        name, expression = _named(text)
        if name in chosen:
            raise PwactError("statistics of different names", f"'{name}' twice", "write NAME=STATISTIC")
        chosen[name] = resolve(expression, pwact.stats)
    trained = load_checkpoint(run)
    data = _images(trained, dataset, split, split_seed)
    if network is not None and network not in trained.seeds:
        raise PwactError(
            f"one of the seeds {list(trained.seeds)}", f"--network {network}", "pick one of these"
        )
    variables = trained.at(0 if network is None else trained.seeds.index(network))
    probe = pwact.probe(build(trained.config, 0), np.zeros((1, *trained.config.image_shape), np.float32))
    places = sites or [name for name, site in probe.sites.items() if site.is_map and name.endswith(".relu")]
    with Stages() as stages:
        results = pwact.sweep(
            probe,
            variables,
            data,
            chosen,
            sites=places,
            preprocess=trained.preprocess,
            batch_size=batch_size,
            progress=lambda done, total: stages("Sweeping", done / total),
        )
    results.attrs |= {
        "run": str(run),
        "network_seed": trained.seeds[0] if network is None else network,
        "split": split,
        "split_seed": split_seed,
        "asked": json.dumps(statistics),
        "command": shlex.join(["pwact", *sys.argv[1:]]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_results(results, path, overwrite=overwrite)
    for site in places:
        node = results[pwact.core.node_name(site)]
        for name, array in node.data_vars.items():
            shape = ", ".join(f"{dim} {size}" for dim, size in array.sizes.items())
            console.print(f"{site}: {name} ({shape})", markup=False)
    console.print(f"{len(data):,} images: {split} of {data.name.removesuffix('/' + split)}", markup=False)
    console.print(f"Saved: {path} (opens with pwact.open_results or xarray.open_datatree)", markup=False)


def _images(trained: Any, dataset: str | None, split: str, split_seed: int) -> Any:
    """The images asked for; those of the training must still be the same images, split the same way."""
    import pwact

    data = pwact.data.load(dataset or trained.data["name"].rpartition("/")[0])
    parts = pwact.data.split(data, seed=split_seed)
    if dataset is None and parts["train"].fingerprint != trained.data["fingerprint"]:
        raise PwactError(
            "the images and the split that these networks were trained on",
            f"others in '{data.name}' with --split-seed {split_seed}",
            "give the training's --split-seed, or say --dataset to mean other images",
        )
    if split == "all":
        return data
    if split not in parts:
        raise PwactError("one of: all, train, test", f"--split {split}", "pick one of these")
    return parts[split]


def _named(text: str) -> tuple[str, str]:
    """NAME=STATISTIC in two; without a name, the factories' names joined."""
    name, equals, expression = text.partition("=")
    if equals and name.strip().isidentifier():
        return name.strip(), expression
    try:
        calls = [
            node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)
        ]
    except SyntaxError:
        calls = []
    return "_".join(calls) or text, text
