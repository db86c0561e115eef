"""TorchLens on PyTorch: whole-dataset aggregation, per-batch extraction and sparse recording.

TorchLens's own statistics are of all values of a layer together, except covariance. For statistics of every
point it is given one that follows its protocol: what is measured is how it reaches the activations.
"""

from __future__ import annotations

import re
from typing import Any

import torch
import torchlens
from torch_network import (
    DEVICE,
    OPTIONS,
    SIX_OPTIONS,
    SixStatistics,
    batches,
    device_name,
    device_peak,
    network,
)
from torchlens.fastlog import record
from worker import Peer, Result, Run, Work, serve

WAYS = {"way": ("aggregate", "extract", "record")}
LARGE = {"batch": (256, 64, 128, 512)}  # a call costs much here, an image little


class ChannelCovariance(torchlens.stats.Covariance):
    """TorchLens's running covariance, shown every position as one sample."""

    def update(self, value: torch.Tensor) -> None:
        super().update(value.permute(0, 2, 3, 1).reshape(-1, value.shape[1]))

    def arrays(self, site: int) -> Result:
        population = self.result() * ((self._count - 1) / self._count)
        return {f"{site}.covariance": population.cpu().numpy()}


def statistic(task: str, setting: dict[str, Any]) -> Any:
    if task == "covariance":
        return ChannelCovariance(device=DEVICE, dtype=getattr(torch, setting["dtype"]))
    return SixStatistics(setting)


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    net = network(work, setting)
    first = next(batches(work, setting | {"batch": 2}))
    labels = [
        label for label in torchlens.trace(net, first).layer_labels if re.fullmatch(r"relu_\d+_\d+", label)
    ]

    def run() -> Result:
        found = {label: statistic(task, setting) for label in labels}
        if setting["way"] == "aggregate":
            torchlens.aggregate(net, batches(work, setting), found)
        else:
            for batch in batches(work, setting):
                for label, value in zip(labels, activations(net, batch, labels, setting["way"]), strict=True):
                    found[label].update(value)
        return {k: v for i, label in enumerate(labels) for k, v in found[label].arrays(i).items()}

    return run


def activations(net: torch.nn.Module, batch: torch.Tensor, labels: list[str], way: str) -> list[torch.Tensor]:
    if way == "extract":
        found = torchlens.extract(net, batch, labels)
        return [found[label] for label in labels]
    return [entry.ram_payload for entry in record(net, batch, save=torchlens.func("relu")).records]


if __name__ == "__main__":
    six = SIX_OPTIONS | LARGE | WAYS
    covariance = OPTIONS | LARGE | WAYS | {"dtype": ("float64", "float32")}
    choices = {"six": six, "covariance": covariance}
    serve(Peer(build, choices, ("torchlens", "torch", "numpy"), device_name, device_peak))
