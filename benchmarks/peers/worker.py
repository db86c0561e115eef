"""The side of a peer: loads the workload, computes what it is asked for, and answers with seconds and bytes.

Imports NumPy and nothing else that needs installing, since it runs in every peer's own environment. A peer's
script calls `serve` with what it can do; `run.py` starts the script and speaks with it through its standard
input and output, one JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

STRIDES = (1, 2, 1, 2)  # of the four convolutions
QUANTILES = (0.05, 0.5, 0.995)
TOP = 9

Result = dict[str, np.ndarray]
Run = Callable[[], Result]


@dataclass(frozen=True)
class Work:
    """Images [image, row, column, channel], kernels [row, column, in, out], the head [in, class], labels."""

    images: np.ndarray
    labels: np.ndarray
    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    head: np.ndarray

    @staticmethod
    def load(path: str, images: int) -> Work:
        with np.load(path) as stored:
            layers = range(len(STRIDES))
            return Work(
                stored["images"][:images],
                stored["labels"][:images],
                tuple(stored[f"kernel{i}"] for i in layers),
                tuple(stored[f"bias{i}"] for i in layers),
                stored["head"],
            )


@dataclass(frozen=True)
class Peer:
    """What a script offers.

    Attributes:
        build: of (work, task, setting) a function without arguments that does the task over all images, from
            arrays on the host to arrays on the host.
        choices: for each task the options of its settings, with the values to try; the first value is where
            the search begins.
        packages: whose versions the result names.
        device: that the peer computes on.
        device_peak: bytes that the peer has held on the device at most since it was last asked, or None.
    """

    build: Callable[[Work, str, dict[str, Any]], Run]
    choices: dict[str, dict[str, tuple]]
    packages: tuple[str, ...]
    device: Callable[[], str]
    device_peak: Callable[[], int | None] = lambda: None


def serve(peer: Peer) -> None:
    """Answer requests until the input ends. What libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    works: dict[int, Work] = {}
    runs: dict[str, Run] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = _answer(peer, request, works, runs)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"[:400]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _answer(peer: Peer, request: dict, works: dict[int, Work], runs: dict[str, Run]) -> dict:
    if request["do"] == "describe":
        versions = {name: metadata.version(name) for name in peer.packages}
        return {"choices": peer.choices, "versions": versions, "device": peer.device()}
    if request["do"] == "forget":
        for key in [key for key in runs if json.loads(key)[0] == request["task"]]:
            del runs[key]
        return {}
    images = request["images"]
    if images not in works:
        works[images] = Work.load(request["workload"], images)
    key = json.dumps([request["task"], request["setting"], images], sort_keys=True)
    if key not in runs:
        runs[key] = peer.build(works[images], request["task"], request["setting"])
    before = resident()
    restart_peak()
    peer.device_peak()
    started = time.perf_counter()
    result = runs[key]()
    seconds = time.perf_counter() - started
    if "save" in request:
        np.savez(request["save"], **result)
    return {
        "seconds": seconds,
        "resident_before": before,
        "resident_peak": peak_resident(),
        "device_peak": peer.device_peak(),
    }


def resident() -> int:
    """Bytes of this process in memory now."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
    return peak_resident()


def restart_peak() -> None:
    """Let the highest figure begin anew where the system can (Linux); elsewhere it is that of the process."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def peak_resident() -> int:
    """Bytes of this process in memory at most, since `restart_peak`."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used
