"""How much memory there is for a sweep: as the device says, or the system."""

from __future__ import annotations

import os
import pathlib

import jax

SHARE = 0.9
"""Of what is free, that a sweep may plan with; the rest is for whoever else runs."""

_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""A container's limit and use, as Linux's two versions of control groups tell of them."""


def free_bytes() -> int:
    """Nine tenths of what the first device has free; on CPU of what the system and the container have.

    Example:
        >>> free_bytes() > 1 << 20
        True
    """
    told = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in told:
        return int(SHARE * (told["bytes_limit"] - told.get("bytes_in_use", 0)))
    return int(SHARE * min([_system(), *_container(pathlib.Path("/sys/fs/cgroup"))]))


def _system() -> int:
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container(folder: pathlib.Path) -> list[int]:
    """What is left of the limit, if there is one; files that are cached count as left."""
    for limit, used in _GROUPS:
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            stat = (folder / used).with_name("memory.stat").read_text().split()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        cached = dict(zip(stat[::2], stat[1::2], strict=False)).get("inactive_file", "0")
        return [max(left + int(cached), 0)]
    return []
