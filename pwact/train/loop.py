"""Many networks of one configuration, trained in one call."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from pwact.core.one_process import one_process
from pwact.core.registry import nearest
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import NonFiniteError, PwactError
from pwact.models.architecture import Architecture
from pwact.train import feed, program
from pwact.train.checkpoint import Saved, write
from pwact.train.company import Company, variables
from pwact.train.evaluate import check_fit, evaluate
from pwact.train.metrics import Metrics
from pwact.train.order import check_batches, check_devices
from pwact.train.recipe import NUMBERS, QUICK, Recipe
from pwact.train.resume import carries_of, found_in, what_is_saved
from pwact.train.tensorboard import TensorBoard
from pwact.train.trained import Trained
from pwact.train.treatment import (
    Intervention,
    Member,
    Treatment,
    check_seeds,
    check_streams,
    check_treatment,
    labels_for,
)

SAVE_SECONDS = 60.0
"""A long epoch is saved about as often."""

PAUSE_SECONDS = 1.0
"""At least as long lies between two saves at the ends of epochs."""

SEGMENT = 64
"""Steps that are taken before the clock is looked at, until their duration is known."""


def train(
    config: Architecture,
    dataset: Dataset,
    *,
    seeds: Sequence[int],
    streams: dict[str, int] | None = None,
    **options: Any,
) -> Trained:
    """Train one network for each seed.

    Args:
        config: what to train.
        dataset: the training images.
        seeds: different whole numbers, one network each.
        streams: seeds that single streams (`initialisation`, `order`, `augmentation`, `dropout`, `labels`)
            are held at for all networks; what is not named follows the network's own seed.
        **options: as `train_together` takes them: recipe, test, preprocess, treatment, interventions, folder,
            resume, snapshots, log_every, devices, workers, tensorboard, command, progress.

    Returns:
        The networks, with their curves and how they came to be.

    Raises:
        PwactError: no seeds or one twice, and whatever `train_together` refuses.

    Example:
        >>> import pwact
        >>> parts = pwact.data.split(pwact.data.bag(size=100), seed=0)
        >>> config = pwact.models.ModelConfig((24, 24, 1), 3, widths=(4,), strides=(4,), norm="none")
        >>> trained = pwact.train.train(config, parts["train"], seeds=[0, 1], treatment="untrained")
        >>> trained.variables["head"]["bias"].shape
        (2, 3)
    """
    held = check_streams(streams or {})
    members = [Member(seed, held) for seed in check_seeds(seeds)]
    return train_together(config, dataset, members=members, **options)


def train_together(
    config: Architecture,
    dataset: Dataset,
    *,
    members: Sequence[Member],
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
    """Train networks that differ in seed, held streams and the recipe's numbers, by one program.

    A network's seed decides its first variables, the order of its images, augmentation, the randomness of its
    interventions, and its shuffled labels, each from a stream of its own. On CPU the same member gives the
    same bits whichever others are in the call; on accelerators, the same members in the same call do.

    Args:
        config: what to train.
        dataset: the training images. They are kept on the device as they are stored where that takes a
            quarter of the free memory or less, and else are read for each step, in the same order.
        members: one network each; `Member.numbers` may hold any of `recipe.NUMBERS`.
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
        workers: threads that read images that are not kept on the device; as many as cores if not given.
        tensorboard: whether to write TensorBoard's files too.
        keep_diverged: leave a network whose loss stopped being finite as it was before, named in
            `Trained.diverged`, and go on with the others; an error if false.
        command: that repeats this training, for the record.
        progress: called with (steps done, steps in all, a sentence) again and again.

    Returns:
        The networks in the order of `members`.

    Raises:
        PwactError: images or classes that do not fit the configuration; a batch that the images do not fill
            or that does not divide by the devices; a folder that exists, or that holds another training.
        NonFiniteError: a loss or a parameter is NaN or infinite; names the seed, the epoch and the step.
        KeyboardInterrupt: on Ctrl-C, after the running programs have ended; its message says what is saved.
    """
    started = time.perf_counter()
    place = None if folder is None else Path(folder)
    check_treatment(treatment)
    for part in (dataset,) if test is None else (dataset, test):
        check_fit(config, part)
    _check_request(recipe, members, place, resume, snapshots, tensorboard)
    for name, number in (("log_every", log_every), ("workers", workers)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise PwactError(f"{name} as a whole number of 1 or more", repr(number), f"correct {name}")
    if treatment != "untrained":
        check_batches(recipe, dataset)
        check_devices(recipe, devices)
        _check_snapshots(snapshots, recipe.steps(len(dataset)))
    networks = Trained(
        config,
        recipe,
        treatment,
        tuple(members),
        None,
        _curves(
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
            late = [at for at in snapshots if at <= saved.step and not _snapshot(place, at).exists()]
            if late:
                raise PwactError(
                    f"snapshots after step {saved.step}, which {str(place)!r} has reached",
                    f"step {late[0]}, which was not kept",
                    "leave it out, or train anew",
                )
        stays = feed.is_resident(dataset) if saved is None else saved.resident
        company = Company(networks, dataset, devices, stays, workers)
        run = _Run(company, test, total, place, set(snapshots), keep_diverged, command, started)
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


class _Run:
    """One training on its way: what it holds, and what is due after each segment of steps."""

    def __init__(
        self,
        company: Company,
        test: Dataset | None,
        total: int,
        folder: Path | None,
        snapshots: set[int],
        keep_diverged: bool,
        command: str | None,
        started: float,
    ):
        self.company, self.test, self.total, self.folder = company, test, total, folder
        self.snapshots, self.keep_diverged, self.command = snapshots, keep_diverged, command
        self.steps = company.task.steps
        self.started = self.last_save = started
        self.segment_steps = SEGMENT
        self.board: TensorBoard | None = None
        self.metrics: Metrics | None = None

    def begin(self, networks: Trained, saved: Saved | None, log_every: int, tensorboard: bool) -> None:
        self.log_every = log_every
        if saved is None:
            self.done, self.scores = 0, dict[str, np.ndarray]()
            self.carries = self.company.init()
            self.networks = dataclasses.replace(networks, variables=variables(self.carries))
        else:
            self.done, self.scores = saved.step, dict(saved.scores)
            self.networks = dataclasses.replace(saved.networks, interventions=networks.interventions)
            self.carries = carries_of(saved, self.company) if saved.carry else []
        self.before = self.networks.seconds
        if self.folder is None:
            return
        if saved is None:
            self.save()
        self.metrics = Metrics(self.folder, self.done)
        self.board = TensorBoard(self.folder, self.done) if tensorboard else None
        if self.done == 0 and 0 in self.snapshots:
            self.keep()

    def segment(self, progress: Callable[[int, int, str], None] | None) -> None:
        """Take steps up to the next thing that is due, and do it."""
        began = time.perf_counter()
        epoch, t = divmod(self.done, self.steps)
        first = epoch * self.steps
        ends = [first + self.steps, self.done + self.segment_steps]
        ends += [step for step in self.snapshots if step > self.done]
        if self.log_every < self.steps:
            ends.append(first + (t // self.log_every + 1) * self.log_every)
        end = min(ends)
        self.carries, found = self.company.steps(self.carries, epoch, t, end - first)
        self.scores = {
            name: np.concatenate([self.scores[name], value], 1) if name in self.scores else value
            for name, value in found.items()
        }
        self.done = end
        spent = time.perf_counter() - began
        self.segment_steps = max(
            1, min(2 * self.segment_steps, int(SAVE_SECONDS / 4 / spent * (end - first - t)))
        )
        self._check_finite(found["good"])
        whole = end == first + self.steps
        if whole or (self.log_every < self.steps and (end - first) % self.log_every == 0):
            self._log(epoch, end - first)
        if whole:
            self._finish_epoch(epoch)
        if end in self.snapshots:
            self.keep()
        waited = time.perf_counter() - self.last_save
        due = self.done == self.total or waited >= (PAUSE_SECONDS if whole else SAVE_SECONDS)
        if self.folder is not None and due:
            self.save()
        if progress is not None:
            progress(self.done, self.total, self._sentence(found))

    def save(self) -> None:
        """The checkpoint, and before it the lines of metrics that belong to it."""
        assert self.folder is not None
        lines = self.metrics.flush() if self.metrics else []
        if self.board:
            self.board.write(lines)
        write(self.folder, self._state(self.done < self.total), self.command)
        self.last_save = time.perf_counter()

    def keep(self) -> None:
        """A snapshot of the networks as they are."""
        assert self.folder is not None
        self._refresh()
        write(_snapshot(self.folder, self.done), self._state(False)._replace(snapshot=True), self.command)

    def close(self) -> None:
        if self.board:
            self.board.close()

    def _state(self, unfinished: bool) -> Saved:
        self._refresh()
        carry = jax.tree.leaves(_joined(self.carries)) if unfinished else ()
        return Saved(
            self.networks,
            self.done,
            self.total,
            self.company.task.resident,
            self.company.task.plan.devices,
            False,
            carry,
            self.scores if unfinished else {},
        )

    def _refresh(self) -> None:
        if self.carries:
            seconds = self.before + time.perf_counter() - self.started
            self.networks = dataclasses.replace(
                self.networks, variables=variables(self.carries), seconds=seconds
            )

    def _finish_epoch(self, epoch: int) -> None:
        """One more point on the curves."""
        self._refresh()
        losses, shares = self.scores["loss"], self.scores["accuracy"]
        stopped = np.array([step is not None for step in self.networks.diverged])
        points = [[losses.mean(1, dtype=np.float64)], [shares.mean(1, dtype=np.float64)]]
        if self.test is not None:
            scores = evaluate(self.networks, self.test).where(~stopped)
            points[0].append(scores.loss.values)
            points[1].append(scores.accuracy.values)
            if self.metrics:
                self.metrics.add(
                    step=self.done,
                    epoch=epoch + 1.0,
                    split="test",
                    seeds=self.networks.seeds,
                    values={"loss": scores.loss.values, "accuracy": scores.accuracy.values},
                )
        curves = self.networks.curves
        before = np.stack([curves.loss.values, curves.accuracy.values])
        found = np.where(stopped, np.nan, np.array(points))
        values = np.concatenate([before, found[..., None]], -1)
        self.networks = dataclasses.replace(self.networks, curves=_curves(self.networks.seeds, values))
        self.scores = {}

    def _log(self, epoch: int, t: int) -> None:
        if self.metrics is None:
            return
        window = (t - 1) % self.log_every + 1
        recent = {name: value[:, -window:] for name, value in self.scores.items() if name != "good"}
        recipe, task = self.networks.recipe, self.company.task
        share = float(recipe.rate(self.done - 1, task.images))
        peak = program.numbers_of(recipe, self.networks.members)["learning_rate"]
        self.metrics.add(
            step=self.done,
            epoch=epoch + t / self.steps,
            split="train",
            seeds=self.networks.seeds,
            values={name: value.mean(1, dtype=np.float64) for name, value in recent.items()}
            | {"learning_rate": share * peak},
        )

    def _check_finite(self, good: np.ndarray) -> None:
        """Note which networks stopped, at which step; an error unless that was asked for."""
        diverged = list(self.networks.diverged)
        for place in np.flatnonzero(~good.all(1)).tolist():
            if diverged[place] is None:
                diverged[place] = self.done - good.shape[1] + int(np.argmin(good[place])) + 1
        if diverged == list(self.networks.diverged):
            return
        self.networks = dataclasses.replace(self.networks, diverged=tuple(diverged))
        if self.keep_diverged:
            return
        step, place = min((step, place) for place, step in enumerate(diverged) if step is not None)
        epoch, t = divmod(step - 1, self.steps)
        kept = ""
        if self.folder is not None:
            if self.metrics:
                self.metrics.flush()
            write(self.folder / "diverged", self._state(False)._replace(snapshot=True), self.command)
            kept = f"; as it was before that step it is in {str(self.folder / 'diverged')!r}"
        raise NonFiniteError(
            "a finite training loss and finite parameters",
            f"NaN or infinity for seed {self.networks.seeds[place]} in epoch {epoch + 1} at step {t + 1}"
            f" of {self.steps} ({what_is_saved(self.folder)}{kept})",
            "lower learning_rate or clip_norm, and look at the images' range",
        )

    def _sentence(self, found: dict[str, Any]) -> str:
        name, loss, accuracy = "train", float(found["loss"].mean()), float(found["accuracy"].mean())
        if self.done % self.steps == 0:
            last = self.networks.curves.isel(epoch=-1).mean("seed")
            name, loss, accuracy = str(last.split.values[-1]), float(last.loss[-1]), float(last.accuracy[-1])
        return f"{self.networks.treatment}: {name} loss {loss:.3f}, {name} accuracy {accuracy:.1%}"


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


def _snapshot(folder: Path, step: int) -> Path:
    return folder / "snapshots" / f"step-{step:08d}"


def _check_snapshots(snapshots: Sequence[int], steps: int) -> None:
    wrong = [step for step in snapshots if not isinstance(step, int | np.integer) or not 0 <= step <= steps]
    if wrong:
        raise PwactError(f"snapshots at steps in 0 .. {steps}", f"{wrong[0]}", "see log_spaced")


def _joined(carries: list[program.Carry]) -> program.Carry:
    joined: program.Carry = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *carries)
    return joined


def _curves(seeds: Sequence[int], values: np.ndarray) -> xr.Dataset:
    """Curves from [loss or accuracy, split, network, epoch]."""
    dims = ("split", "seed", "epoch")
    return xr.Dataset(
        {"loss": (dims, values[0]), "accuracy": (dims, values[1])},
        {
            "split": ["train", "test"][: values.shape[1]],
            "seed": list(seeds),
            "epoch": np.arange(1, values.shape[3] + 1),
        },
    )
