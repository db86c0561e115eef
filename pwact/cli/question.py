"""What `pwact stats` and `pwact plan` are asked: which statistics, of which network, over which images."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from pwact.cli.common import DATASET, console
from pwact.errors import PwactError

RunFolder = Annotated[pathlib.Path, typer.Argument(help="A folder that `pwact train` made.")]


def _list(asked: bool) -> None:
    """--list: every statistic with what it takes and the first line of its description."""
    if not asked:
        return
    import inspect

    import pwact

    table = Table("statistic", "gives", show_header=False, box=None, pad_edge=False)
    for name in sorted(pwact.stats.__all__):
        factory = getattr(pwact.stats, name)
        options = inspect.signature(factory).parameters.values()
        told = (option.replace(annotation=option.empty) for option in options)
        line = (inspect.getdoc(factory) or "").partition("\n")[0]
        table.add_row(escape(f"{name}({', '.join(map(str, told))})"), escape(line))
    console.print(table)
    raise typer.Exit


Statistics = Annotated[
    list[str],
    typer.Argument(
        help="Statistics, which `pwact stats --list` lists, as in pwact.stats; NAME=STATISTIC names one."
    ),
]
List = Annotated[
    bool | None, typer.Option("--list", callback=_list, is_eager=True, help="List the statistics, and stop.")
]
Sites = Annotated[
    list[str] | None, typer.Option(help="A site; repeat for more.", show_default="the ReLU maps")
]
Network = Annotated[int | None, typer.Option(help="The seed of the network.", show_default="the first")]
Images = Annotated[str | None, typer.Option(help=DATASET, show_default="those of the training")]
Split = Annotated[str, typer.Option(help="all, or train or test as `pwact train` split them.")]
SplitSeed = Annotated[int, typer.Option(min=0, help="Of that split.")]
GradientOf = Annotated[
    str | None,
    typer.Option(help="For of_gradient(...): label or prediction, whose logit the gradient is of."),
]
BatchSize = Annotated[int, typer.Option(help="Images read at once.")]
MicroBatch = Annotated[
    int | None,
    typer.Option(min=1, help="Images computed on at once.", show_default="by size, or by a trial"),
]
Memory = Annotated[
    float | None, typer.Option(help="GiB that it may take.", show_default="nine tenths of what is free")
]


class Question(NamedTuple):
    """What is asked, as `pwact.sweep` takes it."""

    trained: Any
    seed: int
    probe: Any
    variables: Any
    data: Any
    statistics: dict[str, Any]
    sites: list[str]


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
    for text in sites or ():
        if "," in text and text not in probe.sites:
            told = " ".join(f"--sites {name.strip()}" for name in text.split(",") if name.strip())
            raise PwactError("one site after each --sites", f"--sites {text}", f"repeat it: {told}")
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
