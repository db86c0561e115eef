"""`pwact train`: many seeds of one configuration, or of a grid of them."""

from __future__ import annotations

import pathlib
from typing import Any, Literal

import typer

from pwact.cli.common import DATASET, Stages, console
from pwact.cli.grid_words import tell
from pwact.cli.repeat import can_go_on, command_line, default_folder, is_unfinished
from pwact.errors import PwactError

EXAMPLE = (
    "Example: `pwact train digits --seeds 3 --epochs 5 --out runs/three`, or a grid: "
    "`pwact train digits --vary norm=none,batch --vary width=8,16 --seeds 5 --out runs/norms`"
)

OUTPUT = ("out", "overwrite", "resume")
"""Options that say where to and not what."""

RESULTS = "results.csv"
"""The last file that a training writes; a grid's is its figure."""

BASE = ("architecture", "recipe", "shape")
"""Whose fields --set sets."""


def command(
    dataset: str = typer.Argument("mnist5k", help=DATASET),
    seeds: int = typer.Option(10, min=1, help="Networks: seeds 0, 1, ..."),
    treatment: Literal["trained", "shuffled_labels", "untrained"] = typer.Option(
        "trained", help="What the networks learn."
    ),
    architecture: str = typer.Option("quick", help="Of pwact.models, such as cifar_resnet(depth=20)."),
    recipe: str = typer.Option(
        "quick", help="To begin with: quick, memorise, or a name of pwact.train.recipes, such as mnist5k."
    ),
    norm: Literal["none", "batch", "group", "layer"] | None = typer.Option(
        None, help="After each convolution.", show_default="batch"
    ),
    pooling: Literal["stride", "max", "average"] | None = typer.Option(
        None, help="How maps shrink.", show_default="stride"
    ),
    head: Literal["gap", "flatten"] | None = typer.Option(
        None, help="Average each channel, or keep every point.", show_default="gap"
    ),
    first_kernel_size: int | None = typer.Option(
        None, min=1, help="Of the first convolution.", show_default="5"
    ),
    epochs: int | None = typer.Option(
        None, min=1, help="Passes over the images.", show_default="the recipe's"
    ),
    batch_size: int | None = typer.Option(None, min=1, help="Images a step.", show_default="the recipe's"),
    learning_rate: float | None = typer.Option(None, help="At its peak.", show_default="the recipe's"),
    set_: list[str] | None = typer.Option(
        None,
        "--set",
        metavar="FIELD=VALUE",
        help="Any other field of the network or the recipe; repeat for more.",
    ),
    vary: list[str] | None = typer.Option(
        None,
        metavar="FACTOR=LEVEL,LEVEL,...",
        help="Train at each level: a field, width, depth, images, corruption or a stream; repeat for a grid.",
    ),
    one_at_a_time: bool = typer.Option(
        False, "--one-at-a-time", help="Not every combination: the base, and each other level on its own."
    ),
    hold: list[str] | None = typer.Option(
        None, metavar="STREAM=SEED", help="Hold a stream of randomness in all networks; repeat for more."
    ),
    vary_stream: str | None = typer.Option(
        None, metavar="STREAM", help="Hold all streams but this one, at seed 0 unless --hold says another."
    ),
    intervention: list[str] | None = typer.Option(
        None, metavar="SITE=EDIT", help="An edit of pwact.edits in place in training; repeat for more."
    ),
    snapshots: str | None = typer.Option(
        None,
        metavar="STEP,STEP,...",
        help="Steps whose networks are kept too, or `log`: 0, 1, 2, 4, ... and the last.",
    ),
    log_every: int | None = typer.Option(
        None, min=1, help="Steps between lines of metrics.jsonl.", show_default="an epoch's"
    ),
    tensorboard: bool = typer.Option(
        False, "--tensorboard", help="Write TensorBoard's files too (pip install tensorboardX)."
    ),
    devices: int = typer.Option(1, min=1, help="Over which the images of each step are split."),
    workers: int | None = typer.Option(
        None,
        min=1,
        help="Threads that read images which do not fit in memory.",
        show_default="one, or cores for large images",
    ),
    split_seed: int = typer.Option(0, min=0, help="Of the split into 80 % train and 20 % test."),
    out: pathlib.Path | None = typer.Option(
        None, help="Folder to make, or to go on in.", show_default="runs/train-DATASET-1, -2, ..."
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace the folder if it is there; one to go on in is not replaced."
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Go on in --out, which another command began to train the same."
    ),
) -> None:
    """Train networks, save them after every epoch, and print their held-out accuracy.

    With --vary: a grid of configurations, with tables of results and of differences paired by seed, and a
    figure. Killed or interrupted, the same command goes on where it was, also without --out.
    """
    written = command_line(command, locals(), but=OUTPUT)
    import pwact
    from pwact.train import Intervention
    from pwact.train.grids import all_but, parse_hold

    if resume and overwrite:
        raise PwactError("--resume or --overwrite", "both", "choose one")
    if resume and out is None:
        raise PwactError("--out with the folder to resume", "--resume alone", "say --out FOLDER")
    if vary and (snapshots or log_every or tensorboard):
        raise PwactError(
            "--snapshots, --log-every and --tensorboard without --vary",
            "one of them with --vary",
            "train that cell alone for them",
        )
    if one_at_a_time and not vary:
        raise PwactError("--vary with --one-at-a-time", "no --vary", "say what to vary")
    held = parse_hold(hold or [])
    if vary_stream is not None:
        held = all_but(vary_stream, held)
    data = pwact.data.load(dataset)
    parts = pwact.data.split(data, seed=split_seed)
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given |= {"norm": norm, "pooling": pooling, "head": head, "first_kernel_size": first_kernel_size}
    given = {name: value for name, value in given.items() if value is not None}
    base = _base(data, architecture, recipe, given, set_ or [])
    common: dict[str, Any] = {
        "test": parts["test"],
        "treatment": treatment,
        "interventions": [Intervention.parse(text) for text in intervention or []],
        "command": written,
        "devices": devices,
        "workers": workers,
    }
    folder = out or default_folder(f"{'grid' if vary else 'train'}-{dataset}", written)
    if vary:
        _grid(base, parts["train"], vary, one_at_a_time, seeds, held, folder, overwrite, common)
    else:
        resume = resume or is_unfinished(folder, written)
        common |= {
            "snapshots": _steps(snapshots, base.recipe.steps(len(parts["train"]))),
            "log_every": log_every,
            "tensorboard": tensorboard,
        }
        _train(base, parts, seeds, held, folder, overwrite, resume, common)


def _steps(text: str | None, steps: int) -> list[int]:
    """The steps of --snapshots."""
    from pwact.train import log_spaced

    if text is None:
        return []
    if text == "log":
        return log_spaced(steps)
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise PwactError("steps with commas between, or `log`", repr(text), "write 0,100,200") from None


def _recipe(name: str) -> Any:
    """A recipe by its name, in small letters."""
    from pwact.core.registry import nearest
    from pwact.train import MEMORISE, QUICK, recipes

    known = {"quick": QUICK, "memorise": MEMORISE}
    known |= {each.lower(): getattr(recipes, each) for each in recipes.__all__}
    if name.lower() not in known:
        raise PwactError(f"a recipe, one of: {', '.join(known)}", repr(name), nearest(name.lower(), known))
    return known[name.lower()]


def _base(data: Any, architecture: str, recipe: str, given: dict[str, Any], texts: list[str]) -> Any:
    """The architecture and the recipe that the options describe."""
    from pwact.models import from_text
    from pwact.train.grids import Draft, applied, assignment, setting

    base = Draft(from_text(architecture, data.image_shape, data.num_classes), _recipe(recipe))
    chosen: dict[Any, Any] = {}
    for name, value in given.items():
        one = setting(name, base, BASE)
        chosen[one] = one.value(value)
    for text in texts:
        name, value = assignment(text)
        one = setting(name, base, BASE)
        if one in chosen:
            raise PwactError("each field once", f"{one.name} twice", "say it in one way")
        chosen[one] = one.value(value)
    return applied(base, chosen)


def _grid(
    base: Any,
    dataset: Any,
    vary: list[str],
    one_at_a_time: bool,
    seeds: int,
    held: dict[str, int],
    folder: pathlib.Path,
    overwrite: bool,
    common: dict[str, Any],
) -> None:
    from pwact.errors import NonFiniteError
    from pwact.report.grid_figure import draw_grid
    from pwact.train.grids import grid, parse_vary
    from pwact.train.grids.record import remove

    levels = parse_vary(vary)
    if overwrite and folder.exists() and not can_go_on(folder, common["command"], dataset):
        remove(folder)
    if (folder / "grid.json").is_file():
        console.print(f"Going on in {folder}.", markup=False)
    with Stages() as stages:
        found = grid(
            base.config,
            base.recipe,
            dataset,
            vary=levels,
            seeds=range(seeds),
            mode="one_at_a_time" if one_at_a_time else "grid",
            hold=held,
            folder=folder,
            progress=lambda share, sentence: stages(sentence, share),
            **common,
        )
    draw_grid(folder)
    tell(found, folder)
    if found.diverged:
        raise NonFiniteError(
            f"finite losses in all {len(found.cells) * len(found.seeds)} networks",
            f"{len(found.diverged)} that diverged: {'; '.join(found.diverged[:3])}",
            "lower learning_rate or clip_norm there; all others are trained and saved",
        )


def _train(
    base: Any,
    parts: Any,
    seeds: int,
    held: dict[str, int],
    folder: pathlib.Path,
    overwrite: bool,
    resume: bool,
    common: dict[str, Any],
) -> None:
    import shutil

    from pwact.records import write_text
    from pwact.train import results_table, train
    from pwact.train.checkpoint import RECORD
    from pwact.train.grids.record import tidy

    if folder.exists() and not (resume or overwrite):
        there = (folder / RECORD).is_file()
        raise PwactError(
            "an output that does not exist yet",
            f"{folder}, made by another command or finished" if there else f"{folder}",
            "choose another --out, or say --resume to go on in it or --overwrite to replace it"
            if there
            else "choose another --out",
        )
    if overwrite and folder.exists() and not can_go_on(folder, common["command"], parts["train"]):
        if not (folder / RECORD).is_file():
            raise PwactError("a folder of `pwact train` to replace", f"{folder}", "choose another --out")
        shutil.rmtree(folder)
    if folder.exists():
        console.print(f"Going on in {folder}.", markup=False)
    with Stages() as stages:
        trained = train(
            base.config,
            parts["train"],
            seeds=range(seeds),
            streams=held,
            recipe=base.recipe,
            folder=folder,
            resume=resume,
            progress=lambda done, total, sentence: stages(sentence, done / total),
            **common,
        )
    table = results_table({folder.name: trained}, parts["test"])
    tidy(folder, [RESULTS])
    write_text(table.to_csv(index=False), folder / RESULTS)
    row = table.iloc[0]
    reach = f" (95 % interval over seeds: {row.low:.1%} to {row.high:.1%})" if len(trained) > 1 else ""
    console.print(
        f"{len(trained)} networks of {trained.parameters:,} parameters in {trained.seconds:.0f} s; "
        f"held-out accuracy {row.accuracy:.1%}{reach}",
        markup=False,
    )
    console.print(f"Saved: {folder} (next: pwact stats {folder} moments)", markup=False)
