"""The readings of a dataset that a sweep needs, load by load."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from pwact.core.accumulator import Result
from pwact.core.sweep import hosts, loads, planner, program, resume
from pwact.core.sweep.audit import Audit
from pwact.core.sweep.faults import blame, refuse_overflow
from pwact.core.sweep.footprint import Job
from pwact.core.sweep.peers import Peers
from pwact.core.sweep.request import check_request
from pwact.core.sweep.resume import Place, Saver
from pwact.core.sweep.task import Task, shapes
from pwact.errors import PwactError
from pwact.types import Batch


class _Now(NamedTuple):
    """Where the sweep is, replaced as a whole so that an interruption finds it whole.

    `carry` is the states and the count, None before a reading; `faults` are those of the latest load.
    """

    place: Place
    audit: Audit
    carry: Any
    faults: Any


class Run:
    """One sweep on its way.

    Args:
        task: what to compute.
        variables: with what, on the device.
        dataset: over what.
        batch_size: images of a load.
        micro_batch: images computed on at once; None for what the planner finds best.
        memory: bytes that it may take; None for what the planner finds free.
        progress: told of (images done, images in all), all passes counted.
        saver: what keeps the place of the sweep, if anything does.
        peers: the processes that share the dataset.

    Raises:
        PwactError: a question that shapes alone show to be wrong, or the saver's file is of another sweep.
    """

    def __init__(
        self,
        task: Task,
        variables: Any,
        dataset: Any,
        batch_size: int,
        micro_batch: int | None,
        memory: int | None,
        progress: Callable[[int, int], None] | None,
        saver: Saver | None,
        peers: Peers,
    ):
        self._started = time.perf_counter()
        self._task, self._variables, self._dataset = task, variables, dataset
        self._batch_size, self._progress, self._saver = batch_size, progress, saver
        self._peers = peers
        self._own = hosts.share(len(dataset), batch_size, peers.process, peers.processes)
        known = {}
        if saver is not None or peers.processes > 1:
            known = resume.identity(task, variables, dataset, batch_size, micro_batch)
            hosts.check_same(peers, {**known, "state": "none" if saver is None else "kept"})
            known["process"] = f"{peers.process} of {peers.processes}"
        if saver is not None:
            saver.check(known)
        first = loads.first(dataset, batch_size)
        check_request(task, shapes(task, variables, first), dataset)
        self._masks = "mask" in shapes(task, variables, first).used
        self._first = first if self._masks else first._replace(mask=None)
        place = self._beginning(saver, micro_batch, memory)
        self._setting = place.settled.setting
        groups = [task.only(parts) for parts in place.groups]
        self._readings = [(group, number) for group in groups for number in range(group.passes)]
        self._total = len(self._readings) * len(self._own)
        self._waiting: tuple[Task, Batch, Any] | None = None
        if known:
            place = hosts.caught_up(peers, self._resumed(known) or place)
        self._now = _Now(place, Audit(place.index), None, False)
        self._done = place.number * len(self._own) + place.images
        self._save_with_all()

    @property
    def passes(self) -> int:
        """Readings of the dataset, of all groups together."""
        return len(self._readings)

    @property
    def place(self) -> Place:
        """Where the sweep is now, the states on the device aside."""
        return dataclasses.replace(self._now.place, seconds=self._seconds())

    def results(self) -> dict[str, Result]:
        """Of each node: read the dataset as often as its statistics ask for."""
        self._tell(0)
        try:
            for group, number in self._readings[self._now.place.number :]:
                self._end_of_pass(group, number, self._read(group, number))
            found = self._ordered()
        except BaseException:
            self._keep_if_whole()
            raise
        finally:
            self._wait()
        refuse_overflow(found)
        return found

    def keep(self) -> None:
        """Save where the sweep is, if that is further than what is saved."""
        if self._saver is not None and self._images() != self._saver.images:
            self._save(self._saver)

    def _save(self, saver: Saver) -> None:
        now, done = self._now, self._images()
        images = done - now.place.number * len(self._own)
        place = dataclasses.replace(
            now.place,
            images=images,
            index=now.audit.index[:images],
            carry=now.place.carry if now.carry is None else resume.by_path(now.carry),
            seconds=self._seconds(),
        )
        saver.save(place, done)

    def _save_with_all(self) -> None:
        """At the beginning of a reading: no process goes on before all could go on from there."""
        if self._saver is not None and self._peers.processes > 1:
            self._save(self._saver)
            hosts.wait_for_all(self._peers)

    def _beginning(self, saver: Saver | None, micro_batch: int | None, memory: int | None) -> Place:
        """Before the first image, with what was decided when the sweep first began."""

        def decide() -> dict[str, Any]:
            job = Job(self._task, self._variables, self._first, self._batch_size, len(self._dataset))
            planned = planner.schedule(job, micro_batch, memory)
            return {"settled": planned.settled, "groups": [list(group.parts) for group in planned.groups]}

        kept = None if saver is None else saver.decided
        return Place.beginning(**resume.decided(hosts.agreed(self._peers, kept, decide)))

    def _resumed(self, known: dict[str, str]) -> Place | None:
        """The place that the file tells of, once it is of this very computation."""
        saver = self._saver
        arguments = (self._setting, self._variables, self._first, self._batch_size)
        needed = (saver is None or saver.number == 0) and self._readings[0][0] == self._task
        text = self._program(self._task).text if needed else program.text(self._task, *arguments)
        ends = program.text_of_ends(self._task, self._variables, self._first)
        known = {**known, "computation": f"{text} {ends}"}
        hosts.check_same(self._peers, {"computation": known["computation"]})
        if saver is None:
            return None
        saver.check(known)
        return saver.kept()

    def _program(self, task: Task) -> program.Program:
        return program.compiled(task, self._setting, self._variables, self._first, self._batch_size)

    def _read(self, task: Task, reading: int) -> program.States:
        """The images that are still to come, once each, into the states."""
        compiled, (place, audit, carry, _) = self._program(task), self._now
        if carry is None:
            carry = resume.restored(place.carry, compiled.init()) if place.carry else compiled.init()
        place = dataclasses.replace(place, carry={})  # which lets go of the file's
        self._now = _Now(place, audit, carry, False)
        with contextlib.closing(
            loads.prefetched(
                loads.loads(self._dataset, self._batch_size, self._masks, self._own[place.images :])
            )
        ) as images:
            while (load := self._next(images)) is not None:
                self._peers.check()
                audit.add(load)
                size = self._setting.micro_batch
                batch = loads.in_micro_batches(load, size, compiled.micro_batches)
                self._now = self._now._replace(
                    **self._ran(compiled, batch, -(-len(load.label) // size), reading)
                )
                # One load behind: the device never waits for the host, nor does the host run far ahead of it.
                self._settle()
                self._waiting = (task, load, self._now.faults)
                if self._saver is not None and self._saver.due:
                    self._settle()
                    self.keep()
        self._settle()
        return compiled.joined(self._now.carry, reading)

    def _ran(self, compiled: program.Program, batch: Batch, number: int, reading: int) -> dict[str, Any]:
        carry, faults = compiled.run(self._now.carry, self._variables, batch, number, reading)
        return {"carry": carry, "faults": faults}

    def _end_of_pass(self, group: Task, number: int, states: program.States) -> None:
        """Results of the statistics that are complete, and the states that the others go on with."""
        place, audit, carry, _ = self._now
        audit, counted = hosts.united(self._peers, audit, int(np.asarray(carry[1]).sum()))
        order = audit.finish(self._dataset, counted)
        read, ended, further = group.on_pass(number), group.ending_on(number), group.on_pass(number + 1)
        states = program.replaced(states, hosts.merged(self._peers, read, program.only(read, states)))
        found = {node: dict(result) for node, result in place.found.items()}
        for node, result in program.results(ended, program.only(ended, states)).items():
            found[node] = found.get(node, {}) | result
        after = None
        if further.nodes:
            going_on = program.advance(further, program.only(further, states))
            after = self._program(group).begun(program.replaced(states, going_on))
        place = dataclasses.replace(place, number=place.number + 1, images=0, found=found, order=order)
        self._now = _Now(place, Audit(), after, False)
        self._save_with_all()

    def _ordered(self) -> dict[str, Result]:
        """The results in the order that they were asked for."""
        found = self._now.place.found
        return {
            node.name: {
                array: value
                for name, _ in node.statistics
                for array, value in found[node.name].items()
                if array.startswith(f"{name}.")
            }
            for node in self._task.nodes
        }

    def _next(self, images: Generator[Batch, None, None]) -> Batch | None:
        started = time.perf_counter()
        try:
            load = next(images, None)
        except PwactError as error:
            if not (told := self._keep_if_whole()):
                raise
            raise PwactError(error.expected, error.found, f"{error.do}. {told}") from error
        self._now.place.waited += time.perf_counter() - started
        return load

    def _settle(self) -> None:
        if self._waiting is None:
            return
        task, load, faults = self._waiting
        used = shapes(task, self._variables, self._first).used
        blame(task, used, self._variables, self._setting.micro_batch, load, faults)
        self._waiting = None
        self._tell(len(load.label))

    def _tell(self, images: int) -> None:
        self._done += images
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _keep_if_whole(self) -> str:
        """Save where an error or an interruption left the sweep, unless it left it in the middle of a step.

        What there is to say about it; nothing where nothing is ever kept.
        """
        if self._saver is None:
            return ""
        # A state that was handed over to a program is no array any more; a full disk has been told of.
        with contextlib.suppress(RuntimeError, PwactError):
            faults = [self._now.faults, *(self._waiting or ())[2:]]
            if not any(np.asarray(each).any() for each in faults):
                self.keep()
        return self._saver.told

    def _images(self) -> int:
        """Counted so far, all readings together."""
        place, _, carry, _ = self._now
        return place.number * len(self._own) + (
            place.images if carry is None else int(np.asarray(carry[1]).sum())
        )

    def _seconds(self) -> float:
        return self._now.place.seconds + time.perf_counter() - self._started

    def _wait(self) -> None:
        """Until the device is idle: a program that outlives its interpreter takes the process down."""
        # Interrupted between a call and its return, the state was handed over and is no array any more.
        with contextlib.suppress(RuntimeError):
            jax.block_until_ready((self._now.carry, self._now.faults))
