"""The side of a way to train the grid: answers requests with seconds and accuracies.

Needs NumPy only, as it runs in PyTorch's environment too. benchmarks/grid.py starts a script and speaks
with it through its standard input and output, one JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """Standardised images [image, row, column, channel] and labels of both parts, and how to train.

    Attributes:
        networks: norm, width, learning_rate and seed of each.
        widths, strides: of the quick network at 16 channels; its first kernel is 5x5, the others 3x3.
        schedule: epochs, batch_size, warmup, weight_decay, clip_norm.
        setting: what is the script's own to choose.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    networks: list[dict[str, Any]]
    widths: list[int]
    strides: list[int]
    schedule: dict[str, Any]
    setting: dict[str, Any]

    def channels(self, network: dict[str, Any]) -> list[int]:
        return [each * network["width"] // self.widths[0] for each in self.widths]

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return len(self.images) // self.schedule["batch_size"]

    def rate(self, step: int) -> float:
        """The share of the learning rate: up along a line, down along a cosine."""
        total = self.steps * self.schedule["epochs"]
        warm = round(self.schedule["warmup"] * total)
        if step < warm:
            return 0.01 + 0.99 * step / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))


def serve(train: Callable[[Work], list[float]], versions: str) -> None:
    """Train what each line asks for; `train` gives the held-out accuracy of each network."""
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):
        print(json.dumps({"versions": versions}), file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            with np.load(request.pop("data")) as stored:
                work = Work(**stored, **request)
            started = time.perf_counter()
            accuracies = train(work)
            seconds = time.perf_counter() - started
            print(json.dumps({"seconds": seconds, "accuracies": accuracies}), file=answers, flush=True)
