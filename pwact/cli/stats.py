"""`pwact stats`: statistics of a trained network over a dataset."""

from __future__ import annotations

import ast
import hashlib
import json
import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from pwact.cli.common import DATASET, Stages, console, folder_of, new_path, refuse_existing
from pwact.errors import PwactError

EXAMPLE = (
    "Example: `pwact stats runs/train-mnist5k-1 moments 'strongest=top_k(9)' "
    "'by_class(firing(), num_classes=10)' 'of_gradient(moments())' 'cka()' "
    "--gradient-of label --sites blocks.0.relu --sites blocks.1.relu`"
)


class Question(NamedTuple):
    """What is asked, as `pwact.sweep` takes it."""

    trained: Any
    seed: int
    probe: Any
    variables: Any
    data: Any
    statistics: dict[str, Any]
    sites: list[str]


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
        None, help="For of_gradient(...): label or prediction, whose logit the gradient is of."
    ),
    batch_size: int = typer.Option(256, help="Images read at once."),
    micro_batch: int | None = typer.Option(
        None, min=1, help="Images computed on at once.", show_default="by size, or by a trial"
    ),
    memory: float | None = typer.Option(
        None, help="GiB that it may take.", show_default="nine tenths of what is free"
    ),
    out: pathlib.Path | None = typer.Option(
        None, help="The file to make.", show_default="runs/stats-1.nc, -2, ..."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
    save_every: float = typer.Option(60.0, min=0, help="Seconds between two saves of how far it is."),
    fresh: bool = typer.Option(
        False, "--fresh", help="Begin anew, whatever an interrupted command has kept."
    ),
) -> None:
    """Compute statistics of every point over a whole dataset and save them as netCDF4 (opens in xarray).

    Killed or interrupted, the same command goes on where it was.
    """
    import pwact
    from pwact.core import save_results
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
        path = out or new_path("stats", ".nc")
        try:
            save_results(results, path, overwrite=overwrite)
        except PwactError as error:
            told = f"{error.do}; the statistics are kept: make the same call again to save them"
            raise PwactError(error.expected, error.found, told) from error
        StateFile(state).remove()
    _tell(results, question, split)
    console.print(f"Saved: {path} (opens with pwact.open_results or xarray.open_datatree)", markup=False)


def ask(
    run: pathlib.Path,
    statistics: list[str],
    sites: list[str] | None,
    network: int | None,
    dataset: str | None,
    split: str,
    split_seed: int,
) -> Question:
    """The question that the options put."""
    import numpy as np

    import pwact
    from pwact.core.registry import resolve
    from pwact.models import build
    from pwact.train import load_checkpoint

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
    seed = trained.seeds[0] if network is None else network
    probe = pwact.probe(build(trained.config, 0), np.zeros((1, *trained.config.image_shape), np.float32))
    places = sites or [name for name, site in probe.sites.items() if site.is_map and name.endswith(".relu")]
    return Question(trained, seed, probe, trained.at(trained.seeds.index(seed)), data, chosen, places)


def logit_of(what: str | None) -> Callable[[Any, Any, Any], Any] | None:
    """--gradient-of as `gradient_of` of a sweep."""
    known = {None: None, "label": label_logit, "prediction": prediction_logit}
    if what not in known:
        raise PwactError("one of: label, prediction", f"--gradient-of {what}", "pick one of these")
    return known[what]


def label_logit(logits: Any, label: Any, prediction: Any) -> Any:
    """The logit of the image's own class."""
    import jax.numpy as jnp

    return jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0]


def prediction_logit(logits: Any, label: Any, prediction: Any) -> Any:
    """The logit of the class that the network decides for."""
    return label_logit(logits, prediction, prediction)


def bytes_of(gib: float | None) -> int | None:
    """--memory as `memory` of a sweep."""
    if gib is None:
        return None
    if not 0 < gib < 2**33:
        raise PwactError("a number of GiB above 0", f"--memory {gib:g}", "give one, such as 4")
    return max(1, round(gib * 2**30))


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
