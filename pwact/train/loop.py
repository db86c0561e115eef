"""Many networks of one configuration, trained in one call."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pwact.core.one_process import one_process
from pwact.core.registry import nearest
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.architecture import Architecture
from pwact.train import feed
from pwact.train.company import Company
from pwact.train.evaluate import check_fit
from pwact.train.order import check_batches, check_devices
from pwact.train.recipe import NUMBERS, QUICK, Recipe
from pwact.train.resume import found_in, what_is_saved
from pwact.train.run import Run, curves_of, snapshot_folder
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Member, Treatment, check_treatment, labels_for, members_of


def train(
    config: Architecture,
    dataset: Dataset,
    *,
    seeds: Sequence[int | Member],
    streams: Mapping[str, int] | None = None,
    recipe: Recipe = QUICK,
    test: Dataset | None = None,
    preprocess: Preprocess | None = None,
    treatment: Treatment = "trained",
    interventions: Sequence[Intervention] = (),
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    snapshots: Sequence[int] = (),
    log_every: int | None = None,
    devices: int = 1,
    workers: int | None = None,
    tensorboard: bool = False,
    keep_diverged: bool = False,
    command: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Trained:
    """Train one network for each seed, all by one program.

    A network's seed decides its first variables, the order of its images, augmentation, the randomness of its
    interventions, and its shuffled labels, each from a stream of its own. On CPU the same network gets the
    same bits whichever others are in the call; on accelerators, the same networks in the same call do.

    Args:
        config: what to train.
        dataset: the training images. They are kept on the device as they are stored where that takes a
            quarter of the free memory or less, and else are read for each step, in the same order.
        seeds: different whole numbers, one network each; or `Member`s, which also say what streams they hold
            and which of the recipe's `NUMBERS` (`learning_rate`, `momentum`, `weight_decay`, `clip_norm`)
            are their own.
        streams: seeds that single streams (`initialisation`, `order`, `augmentation`, `dropout`, `labels`)
            are held at for all networks; what is not named follows the network's own seed.
        recipe: how to train.
        test: held-out images, evaluated after every epoch.
        preprocess: from stored pixels to what the networks see; standardises by `dataset` if not given.
        treatment: `trained`; `shuffled_labels` permutes the training labels, for each network anew;
            `untrained` leaves the first variables as they are.
        interventions: edits at sites, in place in training.
        folder: where to save after every epoch, once a second at most, and in a long epoch about once a
            minute; it must not exist unless `resume`. `metrics.jsonl` in it has a line for each network and
            split.
        resume: go on from the training that `folder` holds, to the same bits; begin one if it is not there.
        snapshots: steps (of all epochs; 0 is before the first) whose networks are kept, each as a checkpoint
            `snapshots/step-00000000` in `folder`.
        log_every: steps between lines of `metrics.jsonl`; an epoch's if not given, and at most.
        devices: that the images of each step are split over.
        workers: threads that read images that are not kept on the device; if not given one for images below
            64x64 pixels, and as many as cores for others.
        tensorboard: whether to write TensorBoard's files too.
        keep_diverged: leave a network whose loss stopped being finite as it was before, named in
            `Trained.diverged`, and go on with the others; an error if false.
        command: that repeats this training, for the record.
        progress: called with (steps done, steps in all, a sentence) again and again.

    Returns:
        The networks in the order of `seeds`, with their curves and how they came to be.

    Raises:
        PwactError: no seeds or one twice; images or classes that do not fit the configuration; a batch that
            the images do not fill or that does not divide by the devices; a folder that exists, or that holds
            another training.
        NonFiniteError: a loss or a parameter is NaN or infinite; names the seed, the epoch and the step.
        KeyboardInterrupt: on Ctrl-C, after the running programs have ended; its message says what is saved.

    Example:
        >>> import pwact
        >>> parts = pwact.data.split(pwact.data.bag(size=100), seed=0)
        >>> config = pwact.models.ModelConfig((24, 24, 1), 3, widths=(4,), strides=(4,), norm="none")
        >>> trained = pwact.train.train(config, parts["train"], seeds=[0, 1], treatment="untrained")
        >>> trained.variables["head"]["bias"].shape
        (2, 3)
    """
    started = time.perf_counter()
    members = members_of(seeds, streams or {})
    place = None if folder is None else Path(folder)
    check_treatment(treatment)
    for part in (dataset,) if test is None else (dataset, test):
        check_fit(config, part)
    _check_request(recipe, members, place, resume, snapshots, tensorboard)
    _check_counts(log_every=log_every, workers=workers)
    if treatment != "untrained":
        check_batches(recipe, dataset)
        check_devices(recipe, devices)
        _check_snapshots(snapshots, recipe.steps(len(dataset)))
    networks = Trained(
        config,
        recipe,
        treatment,
        members,
        None,
        curves_of(
            [member.seed for member in members], np.empty((2, 1 if test is None else 2, len(members), 0))
        ),
        labels_for(treatment, np.asarray(dataset.labels), members),
        Preprocess.standardise(dataset) if preprocess is None else preprocess,
        _identity(dataset, "") | ({} if test is None else _identity(test, "test_")),
        0.0,
        tuple(interventions),
        (None,) * len(members),
    )
    steps = recipe.steps_per_epoch(len(dataset))
    total = 0 if treatment == "untrained" else recipe.epochs * steps
    saved = None
    with contextlib.ExitStack() as held:
        if place is not None and place.exists():
            held.enter_context(one_process(place))
            saved = found_in(place, networks, total, devices)
            late = [at for at in snapshots if at <= saved.step and not snapshot_folder(place, at).exists()]
            if late:
                raise PwactError(
                    f"snapshots after step {saved.step}, which {str(place)!r} has reached",
                    f"step {late[0]}, which was not kept",
                    "leave it out, or train anew",
                )
        stays = feed.is_resident(dataset) if saved is None else saved.resident
        company = Company(networks, dataset, devices, stays, workers)
        run = Run(company, test, total, place, set(snapshots), keep_diverged, command, started)
        run.begin(networks, saved, log_every or steps, tensorboard)
        held.callback(run.close)
        if place is not None and saved is None:
            held.enter_context(one_process(place))
        try:
            while run.done < total:
                run.segment(progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"training of {total} steps stopped; {what_is_saved(place)}") from None
        return run.networks


def log_spaced(steps: int, *, per_doubling: int = 1) -> list[int]:
    """Steps for snapshots: 0, 1, 2, 4, ... and the last.

    Args:
        steps: in all; see `Recipe.steps`.
        per_doubling: steps between one power of two and the next, the latter included.

    Example:
        >>> log_spaced(20), log_spaced(9, per_doubling=2)
        ([0, 1, 2, 4, 8, 16, 20], [0, 1, 2, 3, 4, 6, 8, 9])
    """
    found, power = {0, steps}, 1
    while power <= steps:
        found |= {power + power * place // per_doubling for place in range(per_doubling)}
        power *= 2
    return sorted(step for step in found if step <= steps)


def _identity(dataset: Dataset, prefix: str) -> dict[str, str]:
    """What tells these images from others."""
    names = ("name", "fingerprint", "index_hash")
    return {f"{prefix}{name}": getattr(dataset, name) for name in names}


def _check_request(
    recipe: Recipe,
    members: Sequence[Member],
    folder: Path | None,
    resume: bool,
    snapshots: Sequence[int],
    tensorboard: bool,
) -> None:
    """Refuse a folder that is there, or numbers that a recipe has not."""
    if folder is not None and folder.exists() and not resume:
        raise PwactError(
            "a folder that does not exist yet", f"{str(folder)!r}", "pick another, or pass resume=True"
        )
    if folder is None and (len(snapshots) or tensorboard):
        raise PwactError("a folder for what is to be kept", "folder=None", "pass folder=")
    for member in members:
        for name in member.numbers:
            if name not in NUMBERS:
                raise PwactError(f"one of: {', '.join(NUMBERS)}", repr(name), nearest(name, NUMBERS))
        recipe.with_numbers(member.numbers)


def _check_counts(**counts: int | None) -> None:
    for name, number in counts.items():
        if number is not None and (not isinstance(number, int) or number < 1):
            raise PwactError(f"{name} as a whole number of 1 or more", repr(number), f"correct {name}")


def _check_snapshots(snapshots: Sequence[int], steps: int) -> None:
    wrong = [step for step in snapshots if not isinstance(step, int | np.integer) or not 0 <= step <= steps]
    if wrong:
        raise PwactError(f"snapshots at steps in 0 .. {steps}", f"{wrong[0]}", "see log_spaced")
