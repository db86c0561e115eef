"""What differs between CPU, GPU and TPU is decided here, and nowhere else."""

from __future__ import annotations

import functools
import math
import os
import pathlib
import platform
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax

CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
"""Leaves every convolution and product its own call, which is fast whatever is wanted beside it."""

CACHE_BYTES = 1 << 20
"""Second-level cache of a core, where the machine does not say."""

DEVICE_BYTES = 256 << 20
"""Activations of one micro-batch on an accelerator: enough to fill it, little beside its memory."""

UNCOUNTED_BYTES = 160 << 20
"""On CPU, by benchmarks/memory.py."""

ROWS, SMALL_ROW_BYTES = 8, 1 << 12
"""Rows that XLA on CPU reduces in registers, and the size below which it is not worth a loop."""


def compiler_options() -> dict[str, str]:
    """XLA options for programs that look inside a network, as `jax.jit(compiler_options=...)` takes them.

    On CPU XLA turns a whole forward pass into one library call, and loses several times that gain when
    an inner activation is wanted too; the option leaves each product its own call. Other back ends, and
    versions that do not know the option, get none.

    Example:
        >>> isinstance(compiler_options(), dict)
        True
    """
    return dict(_known(jax.default_backend()))


def micro_batches(bytes_per_image: int, largest: int, limit: int) -> list[int]:
    """The numbers of images worth computing on at once, the best guess first.

    On CPU the largest activation of a micro-batch takes twice the cores' second-level caches, on an
    accelerator all activations together a fixed part of its memory. Around that guess lie the others.

    Args:
        bytes_per_image: of all activations that are looked at.
        largest: bytes of the largest of them.
        limit: images that there are at most.

    Returns:
        One or more, none above `limit` by more than the last block of rows.

    Example:
        >>> micro_batches(100, 100, limit=30)
        [32, 16, 8]
    """
    cpu = jax.default_backend() == "cpu"
    guess = 2 * cache_bytes() / max(largest, 1) if cpu else DEVICE_BYTES / max(bytes_per_image, 1)
    most = math.ceil(limit / ROWS) * ROWS
    base = min(2 ** round(math.log2(min(max(guess, 1), 1024))), most)
    return [size for size in (base, base // 2, base * 2, base // 4) if 1 <= size <= most]


class Setting(NamedTuple):
    """How a program that looks inside a network is compiled: results differ in their last bits at most.

    Attributes:
        micro_batch: images computed on at once.
        options: for the compiler, as (name, value).
    """

    micro_batch: int
    options: tuple[tuple[str, str], ...]


def settings(bytes_per_image: int, largest: int, limit: int) -> list[Setting]:
    """The settings worth trying, the best guess first.

    The options of `compiler_options` with up to three of `micro_batches`; and none, with a small one.

    Args:
        bytes_per_image: of all activations that are looked at.
        largest: bytes of the largest of them.
        limit: images that there are at most.

    Example:
        >>> settings(100, 100, limit=30)[0].micro_batch
        32
    """
    sizes, options = micro_batches(bytes_per_image, largest, limit), tuple(sorted(compiler_options().items()))
    others = [Setting(sizes[min(1, len(sizes) - 1)], ())] if options else []
    return [*(Setting(size, options) for size in sizes[:3]), *others]


class SeedPlan(NamedTuple):
    """How training runs many seeds.

    Attributes:
        together: seeds that one program trains side by side.
        at_once: such programs that run at the same time, from threads.
        scan: whether an epoch is one program, or each step is one.
        convolution: the program of a convolution whose gradient is taken (`pwact.nn.Conv`).
        devices: that the images of a step are split over.
    """

    together: int
    at_once: int
    scan: bool
    convolution: Literal["lax", "slices"]
    devices: int = 1


def seed_plan(seeds: int, devices: int = 1) -> SeedPlan:
    """On CPU one seed and one step a program, as many at once as there are cores; elsewhere one program.

    XLA:CPU has a fast gradient of a convolution, but neither inside a loop nor with a batch of kernels; and
    two programs of one seed fill two cores better than one program does (benchmarks/seeds.py). So a seed's
    bits do not depend on which other seeds were asked for.

    Example:
        >>> seed_plan(1).at_once
        1
    """
    if jax.default_backend() == "cpu":
        # Programs over several devices wait for each other, so they must not run at once.
        at_once = min(seeds, cores()) if devices == 1 else 1
        return SeedPlan(together=1, at_once=at_once, scan=False, convolution="lax", devices=devices)
    return SeedPlan(together=seeds, at_once=1, scan=True, convolution="slices", devices=devices)


def compiled(lowered: Any) -> Any:
    """Compile a lowered program in a thread, to its end even under Ctrl-C.

    XLA:CPU that is interrupted while it compiles takes the process down when Python leaves. The main thread
    takes the interrupt, and raises it when the compiler is done.

    Args:
        lowered: what `jax.jit(...).lower(...)` returned.

    Returns:
        What its `compile()` returns.

    Example:
        >>> float(compiled(jax.jit(lambda x: 2 * x).lower(1.0))(3.0))
        6.0
    """
    with ThreadPoolExecutor(1, thread_name_prefix="pwact-compile") as pool:
        return pool.submit(lowered.compile).result()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rows_at_once(images: int, row_bytes: int) -> int | None:
    """How many images of a batch a statistic should take at a time; None for all of them.

    XLA on CPU keeps a reduction over a few rows in registers, and walks memory once a row over more.
    Small rows gain nothing.

    Args:
        images: in the batch.
        row_bytes: of one image's activation.

    Returns:
        A divisor of `images`, or None.
    """
    if jax.default_backend() != "cpu" or row_bytes < SMALL_ROW_BYTES:
        return None
    return max(rows for rows in range(1, ROWS + 1) if images % rows == 0)


def rows_side_by_side(rows: int, row_bytes: int) -> int:
    """How many rows a reduction over small rows should take as one row; 1 for each on its own.

    XLA on CPU is several times faster down columns that are as wide as those of a map.

    Args:
        rows: of the array.
        row_bytes: of one of them.

    Returns:
        A divisor of `rows`.
    """
    if jax.default_backend() != "cpu" or row_bytes >= SMALL_ROW_BYTES:
        return 1
    widest = SMALL_ROW_BYTES // max(row_bytes, 1)
    return max((number for number in range(1, widest + 1) if rows % (ROWS * number) == 0), default=1)


def uncounted_bytes() -> int:
    """What compiling and running take on top of what a program says of itself.

    On CPU the compiler works in this process, and the convolution library takes memory of its own;
    benchmarks/memory.py measures both. An accelerator's memory holds neither.
    """
    return UNCOUNTED_BYTES if jax.default_backend() == "cpu" else 0


def loads_in_flight() -> int:
    """Loads of images that are in the memory that programs run in, beside the one that is computed on.

    On CPU one is being read, one waits to be computed, one may still be asked for what was wrong in it; an
    accelerator holds the one that is sent to it.
    """
    return 3 if jax.default_backend() == "cpu" else 1


def devices_a_memory(devices: int) -> int:
    """How many of these devices share a memory: on CPU all do, accelerators each have their own."""
    return devices if jax.default_backend() == "cpu" else 1


def this_machine() -> str:
    """What a trial of settings holds for, in words: another processor may prefer another setting."""
    kinds = ", ".join(device.device_kind for device in jax.devices())
    return f"{jax.default_backend()}: {kinds}; {_processor()}, {cores()} cores, cache {cache_bytes()}"


@functools.cache
def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@functools.cache
def cache_bytes() -> int:
    """Second-level cache of all cores that this process may use, in bytes."""
    for index in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (index / "level").read_text().strip() == "2":
                return cores() * int((index / "size").read_text().strip().removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return cores() * CACHE_BYTES


@functools.cache
def _known(backend: str) -> tuple[tuple[str, str], ...]:
    if backend != "cpu":
        return ()
    try:
        jax.jit(lambda x: x, compiler_options=CPU_OPTIONS).lower(0.0).compile()
    except (jax.errors.JaxRuntimeError, ValueError):
        return ()
    return tuple(CPU_OPTIONS.items())
