"""What a sweep will take, said before it begins; what does not fit in memory is split, or refused."""

from __future__ import annotations

from typing import NamedTuple

from pwact.core.backend import Setting
from pwact.core.free_memory import free_bytes
from pwact.core.sweep import program
from pwact.core.sweep.footprint import Footprint, Job, beside, footprint, tree_bytes
from pwact.core.sweep.task import Part, Task, shapes
from pwact.core.sweep.trial import Settled, settle
from pwact.errors import PwactError


class Schedule(NamedTuple):
    """How a sweep is computed.

    Attributes:
        settled: the setting of all of its programs.
        groups: what is swept together, one group after the other.
        footprints: of each group, the results of those before it included in the peak.
        limit: bytes that none of these exceeds.
    """

    settled: Settled
    groups: tuple[Task, ...]
    footprints: tuple[Footprint, ...]
    limit: int


def schedule(job: Job, micro_batch: int | None, memory: int | None) -> Schedule:
    """Decide how a sweep is computed; its programs are compiled on the way.

    Args:
        job: what is computed.
        micro_batch: images computed on at once; None for the best.
        memory: bytes that it may take; None for nine tenths of what is free.

    Raises:
        PwactError: some statistic alone does not fit.
    """
    limit = free_bytes() if memory is None else memory
    settled = settle(job, micro_batch, limit)
    return Schedule(settled, *_split(job, settled.setting, limit), limit)


class _Unit(NamedTuple):
    """A statistic at a node, by what it takes in the end: its state, and what is left of it."""

    part: Part
    state: int
    results: int


def _split(job: Job, setting: Setting, limit: int) -> tuple[tuple[Task, ...], tuple[Footprint, ...]]:
    """As few groups as filling one after the other, the largest statistics first, leads to.

    The compiler's word counts: where a group turns out larger than it seemed, less is put into each.
    """
    units = _units(job)
    if sum(unit.state for unit in units) + beside(job) <= limit:
        whole = footprint(job, job.task, setting)
        if whole.peak <= limit:
            return (job.task,), (whole,)
    spare = _fixed(job, setting)
    while True:
        groups = _filled(job, units, limit - spare)
        footprints: list[Footprint] = []
        kept = over = 0
        for task in groups:
            own = [unit for unit in units if unit.part in task.parts]
            least = kept + sum(unit.state for unit in own)
            if least > limit:
                raise _too_large(job, own[0], setting, kept, limit)
            found = footprint(job, task, setting)
            footprints.append(found._replace(peak=kept + found.peak))
            kept += found.results
            over = max(over, footprints[-1].peak - limit)
            if footprints[-1].peak > limit and len(own) == 1:
                raise _too_large(job, own[0], setting, kept - found.results, limit)
        if over <= 0:
            return groups, tuple(footprints)
        spare += max(over, limit // 50)


def _filled(job: Job, units: list[_Unit], room: int) -> tuple[Task, ...]:
    """Groups in the order that they are swept in; one statistic at least in each."""
    groups = []
    while units:
        group, left = [units[0]], room - units[0].state - units[0].results
        for unit in units[1:]:
            if unit.state + unit.results <= left:
                group.append(unit)
                left -= unit.state + unit.results
        groups.append(job.task.only({unit.part for unit in group}))
        room -= sum(unit.results for unit in group)
        units = [unit for unit in units if unit not in group]
    return tuple(groups)


def _units(job: Job) -> list[_Unit]:
    """The statistics at each node, the largest first, else in the order that they were asked for."""
    units = []
    for part in job.task.parts:
        task = job.task.only({part})
        known = shapes(task, job.variables, job.load)
        states = program.state_specs(task, known)
        units.append(_Unit(part, tree_bytes(states), tree_bytes(program.result_specs(task, states))))
    return sorted(units, key=lambda unit: -(unit.state + unit.results))


def _fixed(job: Job, setting: Setting) -> int:
    """Bytes that do not depend on the statistics."""
    sites = shapes(job.task, job.variables, job.load).sites
    activations = setting.micro_batch * sum(tree_bytes(spec) for spec in sites.values())
    return beside(job) + tree_bytes(job.variables) + activations


def _too_large(job: Job, unit: _Unit, setting: Setting, kept: int, limit: int) -> PwactError:
    """What does not fit, and how much of it would: what grows with it is all but the fixed part."""
    node, name = unit.part
    peak = footprint(job, job.task.only({unit.part}), setting).peak
    fixed = _fixed(job, setting)
    share = (limit - kept - fixed) / max(peak - fixed, 1)
    return PwactError(
        f"memory for '{name}' at '{node}': {peak:,} bytes, {unit.state:,} of them its state",
        f"{limit - kept:,} bytes left for it of {limit:,}",
        f"{_advice(job, unit, share)}, or allow memory={kept + peak:,} bytes",
    )


def _advice(job: Job, unit: _Unit, share: float) -> str:
    """How many classes, bins, ranks ... would fit."""
    node, name = unit.part
    known = shapes(job.task.only({unit.part}), job.variables, job.load)
    own = {
        dim: length
        for (where, array, dim), length in known.results.items()
        if where == node and array.startswith(f"{name}.") and dim not in ("row", "column", "channel")
    }
    fitting = {dim: int(length * share) for dim, length in own.items() if length * share >= 1}
    told = " or ".join(f"{number:,} of its {own[dim]:,} ('{dim}')" for dim, number in fitting.items())
    others = len(job.task.parts) > 1
    return (
        f"ask for {told}, which would fit"
        if fitting
        else f"choose a site of fewer points or channels{', or fewer sites and statistics' * others}"
    )
