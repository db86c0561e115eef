"""baukit's running statistics (those of NetDissect, generalised), with its TraceDict to reach the layers.

Only `runningstats.py` and `nethook.py` of a checkout are imported, whose folder BAUKIT names: the package as
a whole wants torchvision and notebook widgets.

Its `Variance` loses most of what batches differ by: of 0, 0 and then 1, 1 it says 0.0625, not 0.25. So task
`six` takes the mean of squares, less the square of the mean, and task `six by Variance` baukit's own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch_network import OPTIONS, batches, device_name, device_peak, network, on_the_host
from worker import QUANTILES, TOP, Peer, Result, Run, Work, serve

sys.path.append(os.environ["BAUKIT"])
from nethook import TraceDict
from runningstats import Covariance, Mean, Quantile, TopK, Variance


class Six:
    """Of every point: mean, variance, firing, and the top 1 from above and from below for extrema."""

    def __init__(self):
        self.values, self.squares, self.fired = Mean(), Mean(), Mean()
        self.low, self.high = TopK(k=1, largest=False), TopK(k=1)

    def add(self, a: torch.Tensor) -> None:
        flat = a.flatten(1)
        self.shape = a.shape[1:]
        self.add_values(flat)
        self.fired.add((flat > 0).float())
        self.low.add(flat)
        self.high.add(flat)

    def add_values(self, flat: torch.Tensor) -> None:
        self.values.add(flat)
        self.squares.add(flat * flat)

    def variance(self) -> torch.Tensor:
        return self.squares.mean() - self.values.mean() ** 2

    def arrays(self) -> Result:
        values = {"mean": self.values.mean(), "variance": self.variance()}
        for name, top in (("min", self.low), ("max", self.high)):
            values[name], values[f"{name}_index"] = top.topk()
        values["firing"] = self.fired.mean()
        return {name: on_the_host(value.reshape(self.shape)) for name, value in values.items()}


class SixByVariance(Six):
    """With baukit's own running variance."""

    def __init__(self):
        super().__init__()
        self.values = Variance()

    def add_values(self, flat: torch.Tensor) -> None:
        self.values.add(flat)

    def variance(self) -> torch.Tensor:
        return self.values.variance(unbiased=False)


class ChannelCovariance:
    """Every position is a sample."""

    def __init__(self):
        self.stat = Covariance()

    def add(self, a: torch.Tensor) -> None:
        self.stat.add(positions(a))

    def arrays(self) -> Result:
        return {"covariance": self.stat.covariance(unbiased=False).cpu().numpy()}


class ChannelTop:
    """The images with the largest activation of each channel, as NetDissect finds them."""

    def __init__(self):
        self.stat = TopK(k=TOP)

    def add(self, a: torch.Tensor) -> None:
        self.stat.add(a.amax((2, 3)))

    def arrays(self) -> Result:
        value, index = self.stat.topk()
        return {"value": value.cpu().numpy(), "index": index.cpu().numpy()}


class ChannelQuantiles:
    """Every position is a sample; the sketch at its own default size."""

    def __init__(self):
        self.stat = Quantile()

    def add(self, a: torch.Tensor) -> None:
        self.stat.add(positions(a))

    def arrays(self) -> Result:
        return {"value": self.stat.quantiles(QUANTILES).cpu().numpy()}


TASKS = {
    "six": Six,
    "six by Variance": SixByVariance,
    "covariance": ChannelCovariance,
    "top": ChannelTop,
    "quantiles": ChannelQuantiles,
}


def positions(a: torch.Tensor) -> torch.Tensor:
    """Point vectors [image and position, channel]."""
    return a.permute(0, 2, 3, 1).reshape(-1, a.shape[1])


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    net = network(work, setting)
    layers = list(net.relus())

    def run() -> Result:
        torch.manual_seed(0)  # the quantile sketch draws at random
        found = {layer: TASKS[task]() for layer in layers}
        for batch in batches(work, setting):
            with TraceDict(net, layers) as traced:
                net(batch)
            for layer in layers:
                found[layer].add(traced[layer].output)
        return {
            f"{i}.{name}": value
            for i, layer in enumerate(layers)
            for name, value in found[layer].arrays().items()
        }

    return run


if __name__ == "__main__":
    choices = {task: OPTIONS for task in TASKS}
    serve(Peer(build, choices, ("torch", "numpy"), device_name, device_peak))
