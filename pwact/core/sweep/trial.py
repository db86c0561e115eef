"""Which setting a sweep is computed with: guessed, or in a long one tried on the first images."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax

from pwact.core import backend
from pwact.core.backend import Setting
from pwact.core.caching import remembered
from pwact.core.sweep import footprint, program, remembered_setting
from pwact.core.sweep.footprint import Job
from pwact.core.sweep.loads import in_micro_batches
from pwact.core.sweep.task import Task, shapes, task_key

TRIES = 3
"""Timed runs of each candidate; the least counts, since whatever else runs only ever adds."""

SHARE = 0.05
"""Of the expected time of a sweep, that a trial may take, and that a setting has to gain to be taken."""


class Settled(NamedTuple):
    """A setting and where it is from: `as asked`, `guessed`, `tried` or `remembered`."""

    setting: Setting
    how: str


def settle(job: Job, micro_batch: int | None, limit: int) -> Settled:
    """The setting of a sweep, the same for the same sweep on the same machine.

    A sweep of fewer loads than a trial would be worth, `TRIES` of each candidate being at most `SHARE` of
    them, takes the best guess. For longer ones it depends on how long the programs take to compile, and so
    what was decided is remembered, in this process and in the user's cache folder.

    Args:
        job: what is computed.
        micro_batch: as asked for; None for the best.
        limit: bytes of memory that no candidate may exceed.
    """
    guess, *others = candidates(job, micro_batch)
    if micro_batch is not None:
        return Settled(guess, "as asked")
    if job.loads * job.task.passes * SHARE < TRIES * (1 + len(others)):
        return Settled(guess, "guessed")

    def decide() -> Settled:
        text = program.text(job.task, guess, job.variables, job.load, job.batch_size)
        path = remembered_setting.path_of(text, job.images * job.task.passes)
        if kept := remembered_setting.load(path, [guess, *others]):
            return Settled(kept, "remembered")
        found, seconds = _tried(job, guess, others, limit)
        remembered_setting.save(path, found.setting, seconds)
        return found

    key = ("settled", job.batch_size, job.images, task_key(job.task, job.variables, job.load))
    return remembered(job.task.probe, key, decide)


def candidates(job: Job, micro_batch: int | None) -> list[Setting]:
    """The settings to choose from, the best guess first."""
    if micro_batch is not None:
        return [Setting(min(micro_batch, job.batch_size), tuple(sorted(backend.compiler_options().items())))]
    specs = shapes(job.task, job.variables, job.load).sites.values()
    sizes = [footprint.tree_bytes(spec) for spec in specs]
    share = -(-job.batch_size // len(job.task.devices))
    return backend.settings(sum(sizes), max(sizes), share)


def seconds_a_load(job: Job, task: Task, setting: Setting, reading: int = 0) -> float:
    """Of one full load on the device, by running the first one a few times."""
    compiled = job.program(task, setting)
    batch = in_micro_batches(job.load, setting.micro_batch, compiled.micro_batches)
    state, taken = compiled.init(), []
    for _ in range(TRIES):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(
            compiled.run(state, job.variables, batch, compiled.micro_batches, reading)
        )
        taken.append(time.perf_counter() - start)
    return min(taken)


def _tried(
    job: Job, guess: Setting, others: list[Setting], limit: int
) -> tuple[Settled, dict[Setting, float]]:
    """The fastest of those that fit, if the trial is worth it; and seconds of those that were timed."""
    task = job.task
    if footprint.footprint(job, task, guess).peak > limit:  # what is split is computed with the guess
        return Settled(guess, "guessed"), {}
    seconds = {guess: seconds_a_load(job, task, guess)}
    expected = seconds[guess] * job.loads * task.passes
    cost = job.program(task, guess).seconds + (TRIES + 1) * seconds[guess]
    if len(others) * cost > SHARE * expected:
        return Settled(guess, "guessed"), seconds
    for other in others:
        if footprint.footprint(job, task, other).peak <= limit:
            seconds[other] = seconds_a_load(job, task, other)
    best = min(seconds, key=lambda setting: seconds[setting])
    return Settled(best if seconds[best] < (1 - SHARE) * seconds[guess] else guess, "tried"), seconds
