"""`pwact.plan`: what a sweep would take, without sweeping."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from pwact.core.accumulator import Accumulator
from pwact.core.provenance import check_finite_variables
from pwact.core.sweep import loads, mesh
from pwact.core.sweep.footprint import Job
from pwact.core.sweep.planner import schedule
from pwact.core.sweep.request import accumulators, check_request, images_of, known_sites, sizes
from pwact.core.sweep.task import Task, nodes, shapes
from pwact.core.sweep.trial import seconds_a_load


@dataclasses.dataclass(frozen=True)
class Group:
    """Statistics that are swept together.

    Attributes:
        statistics: of each node, by name.
        passes: readings of the dataset.
        state_bytes: of the statistics while images go by.
        peak_bytes: the most memory at any time, results of the groups before it included.
        seconds: that it is expected to take, of computing alone.
    """

    statistics: dict[str, tuple[str, ...]]
    passes: int
    state_bytes: int
    peak_bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep will take.

    Attributes:
        images: of the dataset.
        batch_size: images read at once.
        micro_batch: images computed on at once.
        compiler_options: of its programs.
        settled: where these two are from: `as asked`, `guessed`, `tried` or `remembered`.
        groups: what is swept together, one group after the other.
        memory: bytes that it may take.
        compute_seconds: expected, by the first load, computed a few times.
        read_seconds: expected, by the first load, read once; it goes on beside computing.
        compile_seconds: that compiling took just now; in another process it is taken again.
    """

    images: int
    batch_size: int
    micro_batch: int
    compiler_options: dict[str, str]
    settled: str
    groups: tuple[Group, ...]
    memory: int
    compute_seconds: float
    read_seconds: float
    compile_seconds: float

    @property
    def passes(self) -> int:
        """Readings of the dataset, of all groups together."""
        return sum(group.passes for group in self.groups)

    @property
    def state_bytes(self) -> int:
        """The largest state of a group."""
        return max(group.state_bytes for group in self.groups)

    @property
    def peak_bytes(self) -> int:
        """The most memory that it takes at any time."""
        return max(group.peak_bytes for group in self.groups)

    @property
    def seconds(self) -> float:
        """Expected time of the sweep, compiling aside: of reading or computing, whichever is more."""
        return max(self.compute_seconds, self.read_seconds)

    def rows(self) -> list[tuple[str, str]]:
        """Everything about it as (what, how much), for people."""
        options = " ".join(f"{name}={value}" for name, value in self.compiler_options.items()) or "none"
        slower = "reading" if self.read_seconds > self.compute_seconds else "computing"
        return [
            ("images", f"{self.images:,}, {self.batch_size:,} at once"),
            ("groups", f"{len(self.groups):,}"),
            ("passes", f"{self.passes:,}"),
            ("state", bytes_told(self.state_bytes)),
            ("peak memory", f"{bytes_told(self.peak_bytes)} of {bytes_told(self.memory)} that it may take"),
            ("time", f"{seconds_told(self.seconds)}, limited by {slower}"),
            ("computing", seconds_told(self.compute_seconds)),
            ("reading", seconds_told(self.read_seconds)),
            ("compiling", f"{seconds_told(self.compile_seconds)} just now"),
            ("micro-batch", f"{self.micro_batch:,} images ({self.settled})"),
            ("compiler options", options),
        ]

    def __str__(self) -> str:
        lines = [f"{what:<17} {told}" for what, told in self.rows()]
        if len(self.groups) > 1:
            lines += [
                f"group {number:<11} {group_told(group)}" for number, group in enumerate(self.groups, 1)
            ]
        return "\n".join(lines)


def plan(
    probe: Any,
    variables: Any,
    dataset: Any,
    statistics: Mapping[str, Accumulator],
    *,
    sites: Sequence[str],
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    logits: Callable[[Any], jax.Array] | None = None,
    gradient_of: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None,
    devices: Sequence[jax.Device] | None = None,
    batch_size: int = 256,
    micro_batch: int | None = None,
    memory: int | None = None,
) -> Plan:
    """What `pwact.sweep` with the same arguments would take: memory, passes, time.

    seconds = passes * loads * max(seconds to compute a load, seconds to read it)

    Its programs are compiled, and the first load is read and computed a few times. A sweep of the same
    probe then finds these programs.

    Args:
        probe: the model (`pwact.probe`).
        variables: what `probe.run` takes; all finite.
        dataset: images by index (`pwact.data`).
        statistics: accumulators by name.
        sites: names out of `probe.sites`, each once.
        preprocess: stored image -> what the model takes.
        logits: model's outputs -> logits.
        gradient_of: (logits, label, prediction) -> one number an image.
        devices: that share the images of each load; all of this process if None.
        batch_size: images read and sent at once.
        micro_batch: images computed on at once; None for the best.
        memory: bytes that the sweep may take of each device; None for nine tenths of what is free.

    Returns:
        The plan; `print` it to read it.

    Raises:
        PwactError: a question that cannot be answered as asked, or a statistic that does not fit in memory;
            says what would.

    Example:
        >>> import jax.numpy as jnp, numpy as np, pwact
        >>> from pwact.stats import moments
        >>> data = pwact.data.arrays(np.ones((5, 2, 2, 3), np.float32), [0, 1, 2, 0, 1], name="ones")
        >>> probe = pwact.probe(lambda image: image.mean((1, 2)), data.read([0]).image)
        >>> found = pwact.plan(probe, None, data, {"moments": moments()}, sites=["input"])
        >>> found.passes, len(found.groups), found.settled
        (1, 1, 'guessed')

    Source: ours.
    """
    statistics, images = accumulators(statistics), images_of(dataset)
    asked = nodes(known_sites(probe, sites), statistics)
    task = Task(probe, asked, preprocess, logits, gradient_of, mesh.usable(devices))
    batch_size, micro_batch, memory = sizes(images, batch_size, micro_batch, memory)
    check_finite_variables(variables)
    variables = mesh.everywhere(variables, task.devices)
    started = time.perf_counter()
    first = loads.first(dataset, batch_size)
    reading = time.perf_counter() - started
    known = shapes(task, variables, first)
    check_request(task, known, dataset)
    job = Job(
        task, variables, first if "mask" in known.used else first._replace(mask=None), batch_size, images
    )
    found = schedule(job, micro_batch, memory)
    setting = found.settled.setting
    groups, compiling = [], 0.0
    for group, taken in zip(found.groups, found.footprints, strict=True):
        compiling += job.program(group, setting).seconds
        groups.append(
            Group(
                {node.name: tuple(name for name, _ in node.statistics) for node in group.nodes},
                group.passes,
                taken.state,
                taken.peak,
                job.loads
                * sum(seconds_a_load(job, group, setting, reading) for reading in range(group.passes)),
            )
        )
    return Plan(
        images,
        batch_size,
        setting.micro_batch,
        dict(setting.options),
        found.settled.how,
        tuple(groups),
        found.limit,
        sum(group.seconds for group in groups),
        reading * job.loads * sum(group.passes for group in groups),
        compiling,
    )


def group_told(group: Group) -> str:
    """A group in one line."""
    parts = ", ".join(f"{node}: {' '.join(names)}" for node, names in group.statistics.items())
    return f"{group.passes} passes, peak {bytes_told(group.peak_bytes)}: {parts}"


def bytes_told(number: int) -> str:
    """A number of bytes for people.

    Example:
        >>> bytes_told(999), bytes_told(5 << 20), bytes_told(3 << 30)
        ('999 B', '5.0 MiB', '3.0 GiB')
    """
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number} B"


def seconds_told(seconds: float) -> str:
    """A time for people.

    Example:
        >>> seconds_told(0.25), seconds_told(75.0), seconds_told(7300.0)
        ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds) // 60
    return (
        f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )
