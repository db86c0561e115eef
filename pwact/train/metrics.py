"""Curves as JSON lines beside a checkpoint, which other tools read while training goes on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pwact.errors import PwactError
from pwact.records import write_text

NAME = "metrics.jsonl"


class Metrics:
    """Lines of one training: step, epoch, seed, split, and one number a name.

    Lines are appended before the checkpoint that they belong to is written, so a training that goes on drops
    those of steps that it takes again: the file is that of an uninterrupted one.

    Args:
        folder: of the checkpoint.
        step: lines of later steps are dropped.
    """

    def __init__(self, folder: Path, step: int):
        self.path = folder / NAME
        self.waiting: list[dict[str, Any]] = []
        if self.path.is_file():
            kept = [line for line in self.path.read_text().splitlines() if _step(line) <= step]
            write_text("".join(f"{line}\n" for line in kept), self.path)

    def add(
        self,
        *,
        step: int,
        epoch: float,
        split: str,
        seeds: Sequence[int],
        values: Mapping[str, np.ndarray],
    ) -> None:
        """A line for each network, written at the next `flush`; `values` are [network] by name."""
        for place, seed in enumerate(seeds):
            numbers = {name: float(value[place]) for name, value in values.items()}
            self.waiting.append(
                {"step": step, "epoch": round(epoch, 6), "network": place, "seed": seed, "split": split}
                | {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            )

    def flush(self) -> list[dict[str, Any]]:
        """Write what waits, to the disk itself, and return it."""
        written, self.waiting = self.waiting, []
        if written:
            try:
                with self.path.open("a") as file:
                    file.write("".join(json.dumps(line) + "\n" for line in written))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise PwactError(f"to write {self.path}", str(error), "make room") from error
        return written


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):  # torn by a kill
        return math.inf
