"""What a sweep takes of the memory that its programs run in: a device's, or on CPU the process's own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from pwact.core import backend
from pwact.core.streaming.counter import Counter
from pwact.core.sweep import program
from pwact.core.sweep.task import Task, shapes
from pwact.types import Batch


class Job(NamedTuple):
    """What there is to compute and over what.

    Args:
        task: what.
        variables: with what, on the device.
        load: the first images.
        batch_size: images of a full load.
        images: in the dataset.
    """

    task: Task
    variables: Any
    load: Batch
    batch_size: int
    images: int

    @property
    def loads(self) -> int:
        """Of one reading of the dataset."""
        return -(-self.images // self.batch_size)

    def program(self, task: Task, setting: backend.Setting) -> program.Program:
        """The compiled program of one of its tasks."""
        return program.compiled(task, setting, self.variables, self.load, self.batch_size)


class Footprint(NamedTuple):
    """Bytes of a task that is swept on its own.

    Attributes:
        state: of its statistics while images go by.
        results: that are left of it.
        peak: the most at any time.
    """

    state: int
    results: int
    peak: int


def footprint(job: Job, task: Task, setting: backend.Setting) -> Footprint:
    """As the compiler tells of the programs, which are compiled for it.

    peak = the most of (state, variables, load, temporary memory) while images go by, and of (state, results)
    at the end of each reading; plus the loads in flight, and what the compiler does not count.

    Args:
        job: what the task is a part of.
        task: all of it or some.
        setting: that it is computed with.

    Returns:
        Of each device; on CPU, where they share one memory, of all. What several devices take while their
        states are merged is an estimate: two states beside their own.
    """
    states = program.state_specs(task, shapes(task, job.variables, job.load))
    kept = peak = 0
    memories = backend.devices_a_memory(len(task.devices))
    merged = 2 if len(task.devices) > 1 else 0
    run = job.program(task, setting).memory
    for number in range(task.passes):
        ended, further = task.ending_on(number), task.on_pass(number + 1)
        fixed = kept + (memories + merged) * tree_bytes(states) + memories * tree_bytes(job.variables)
        peak = max(peak, kept + memories * (run.argument_size_in_bytes + _made(run)))
        if ended.nodes:
            here = program.only(ended, states)
            end = program.ending(ended, here, "finalize").memory_analysis()
            peak = max(peak, fixed + _made(end) + _counters(program.result_specs(ended, here)))
            kept += end.output_size_in_bytes
        if further.nodes:
            going_on = program.ending(further, program.only(further, states), "advance")
            peak = max(peak, fixed + _made(going_on.memory_analysis()))
    return Footprint(tree_bytes(states), kept, peak + beside(job))


def beside(job: Job) -> int:
    """Bytes that do not depend on the statistics: loads in flight, and what the compiler does not count."""
    load = sum(array.nbytes // len(array) for array in jax.tree.leaves(job.load)) * job.batch_size
    return backend.loads_in_flight() * load + backend.uncounted_bytes()


def tree_bytes(tree: Any) -> int:
    """Of all arrays in a tree, or of the shapes and dtypes of such."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _counters(results: Any) -> int:
    """Counts are made anew on the host, as 64-bit integers beside the two limbs of the device."""
    counters = jax.tree.leaves(results, is_leaf=lambda leaf: isinstance(leaf, Counter))
    return sum(tree_bytes(each) for each in counters if isinstance(each, Counter))


def _made(memory: Any) -> int:
    """What a program takes beside its arguments."""
    return memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.temp_size_in_bytes
