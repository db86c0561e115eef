"""A training on its way: what it holds, and what is due after each segment of steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from pwact.data.dataset import Dataset
from pwact.errors import NonFiniteError
from pwact.train import program
from pwact.train.checkpoint import Saved, write
from pwact.train.company import Company, variables
from pwact.train.evaluate import evaluate
from pwact.train.metrics import Metrics
from pwact.train.resume import carries_of, what_is_saved
from pwact.train.tensorboard import TensorBoard
from pwact.train.trained import Trained

SAVE_SECONDS = 60.0
"""A long epoch is saved about as often."""

PAUSE_SECONDS = 1.0
"""At least as long lies between two saves at the ends of epochs."""

SEGMENT = 64
"""Steps that are taken before the clock is looked at, until their duration is known."""


class Run:
    """One training on its way.

    Args:
        company: the networks and the training images.
        test: held-out images.
        total: steps in all.
        folder: where it is saved.
        snapshots: steps whose networks are kept.
        keep_diverged: whether a network that diverged stops alone.
        command: that repeats the training.
        started: when it was asked for, on the clock of `time.perf_counter`.
    """

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
        kept = self._state(False)._replace(snapshot=True)
        write(snapshot_folder(self.folder, self.done), kept, self.command)

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
        self.networks = dataclasses.replace(self.networks, curves=curves_of(self.networks.seeds, values))
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


def snapshot_folder(folder: Path, step: int) -> Path:
    return folder / "snapshots" / f"step-{step:08d}"


def _joined(carries: list[program.Carry]) -> program.Carry:
    joined: program.Carry = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *carries)
    return joined


def curves_of(seeds: Sequence[int], values: np.ndarray) -> xr.Dataset:
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
