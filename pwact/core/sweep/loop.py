"""The readings of a dataset that a sweep needs, load by load."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from pwact.core.accumulator import Result
from pwact.core.counter import Counter
from pwact.core.sweep import loads, planner, program
from pwact.core.sweep.audit import Audit
from pwact.core.sweep.faults import blame, refuse_overflow
from pwact.core.sweep.request import check_request
from pwact.core.sweep.task import Task, shapes
from pwact.types import Batch


class Run:
    """One sweep on its way.

    Args:
        task: what to compute.
        variables: with what, on the device.
        dataset: over what.
        batch_size: images of a load.
        micro_batch: images computed on at once, or how to find their number.
        progress: told of (images done, images in all), all passes counted.

    Attributes:
        micro_batch: the number that was found.
        order: sha256 of the dataset indices in the order they went by.
        waited: seconds in which nothing but the reading of images went on.
    """

    def __init__(
        self,
        task: Task,
        variables: Any,
        dataset: Any,
        batch_size: int,
        micro_batch: int | Literal["fastest"] | None,
        progress: Callable[[int, int], None] | None,
    ):
        self._task, self._variables, self._dataset = task, variables, dataset
        self._batch_size, self._progress = batch_size, progress
        first = loads.first(dataset, batch_size)
        known = shapes(task, variables, first)
        check_request(task, known, dataset)
        self._masks = "mask" in known.used
        self._first = first if self._masks else first._replace(mask=None)
        self.micro_batch = planner.micro_batch(task, variables, self._first, batch_size, micro_batch)
        self.order, self.waited = "", 0.0
        self._done = 0
        self._carry: tuple[program.States, Counter] | None = None
        self._waiting: tuple[Task, Batch, jax.Array] | None = None

    def results(self) -> dict[str, Result]:
        """Of each node: read the dataset as often as its statistics ask for."""
        found: dict[str, Result] = {node.name: {} for node in self._task.nodes}
        states = None
        try:
            for number in range(self._task.passes):
                states = self._read(self._task.on_pass(number), states)
                ended, further = self._task.ending_on(number), self._task.on_pass(number + 1)
                for node, result in program.results(ended, states).items():
                    found[node] |= result
                if further.nodes:
                    states = program.advance(further, _only(further, states))
        finally:
            self._wait()
        ordered = {
            node.name: {
                array: value
                for name, _ in node.statistics
                for array, value in found[node.name].items()
                if array.startswith(f"{name}.")
            }
            for node in self._task.nodes
        }
        refuse_overflow(ordered)
        return ordered

    def _read(self, task: Task, states: program.States | None) -> program.States:
        """Every image once, into the states."""
        compiled = program.compiled(task, self.micro_batch, self._variables, self._first, self._batch_size)
        self._carry = compiled.init() if states is None else (states, Counter.zeros())
        audit = Audit()
        with contextlib.closing(
            loads.prefetched(loads.loads(self._dataset, self._batch_size, self._masks))
        ) as images:
            while (load := self._next(images)) is not None:
                audit.add(load)
                batch = loads.in_micro_batches(load, self.micro_batch, compiled.micro_batches)
                number = np.int32(-(-len(load.label) // self.micro_batch))
                self._carry, faults = compiled.run(self._carry, self._variables, batch, number)
                # One load behind: the device never waits for the host, nor does the host run far ahead of it.
                self._settle()
                self._waiting = (task, load, faults)
        self._settle()
        states, counted = self._carry
        self.order = audit.finish(self._dataset, int(np.asarray(counted)))
        return states

    def _next(self, images: Any) -> Batch | None:
        started = time.perf_counter()
        load = next(images, None)
        self.waited += time.perf_counter() - started
        return load

    def _settle(self) -> None:
        if self._waiting is None:
            return
        task, load, faults = self._waiting
        blame(
            task,
            shapes(task, self._variables, self._first).used,
            self._variables,
            self.micro_batch,
            load,
            faults,
        )
        self._waiting = None
        self._done += len(load.label)
        if self._progress is not None:
            self._progress(self._done, self._task.passes * len(self._dataset))

    def _wait(self) -> None:
        """Until the device is idle: a program that outlives its interpreter takes the process down."""
        # Interrupted between a call and its return, the state was handed over and is no array any more.
        with contextlib.suppress(RuntimeError):
            jax.block_until_ready((self._carry, self._waiting and self._waiting[2]))


def _only(task: Task, states: program.States) -> program.States:
    return {node.name: {name: states[node.name][name] for name, _ in node.statistics} for node in task.nodes}
