"""Workload W in PyTorch, and six running statistics of every point, as a PyTorch user would write them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import nn
from torch.nn import functional as F
from worker import STRIDES, Result, Work

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS: dict[str, tuple] = {"threads": (CORES, 1)} if DEVICE.type == "cpu" and CORES > 1 else {}
LAYOUT: dict[str, tuple] = {"channels_last": (False, True), "batch": (32, 8, 16, 64, 128, 256)}
OPTIONS = THREADS | LAYOUT
SIX_OPTIONS = THREADS | {"compile": (False, True)} | LAYOUT
torch.set_grad_enabled(False)
torch._dynamo.config.recompile_limit = 1000  # past it, PyTorch would go on without compiling
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 for everyone


class SamePadding(nn.Module):
    """For a stride of 2, as JAX pads: nothing above and on the left, one below and on the right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (0, 1, 0, 1))


class Network(nn.Module):
    def __init__(self, work: Work):
        super().__init__()
        layers: list[nn.Module] = []
        for kernel, bias, stride in zip(work.kernels, work.biases, STRIDES, strict=True):
            before, after = kernel.shape[2:]
            conv = nn.Conv2d(before, after, 3, stride, padding=1 if stride == 1 else 0)
            conv.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            conv.bias.copy_(torch.from_numpy(bias))
            layers += [conv, nn.ReLU()] if stride == 1 else [SamePadding(), conv, nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(work.head.shape[0], work.head.shape[1], bias=False)
        self.head.weight.copy_(torch.from_numpy(work.head.T.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean((2, 3)))

    def relus(self) -> dict[str, nn.Module]:
        return {f"layers.{i}": layer for i, layer in enumerate(self.layers) if isinstance(layer, nn.ReLU)}


def network(work: Work, setting: dict[str, Any]) -> Network:
    net = Network(work).eval().to(DEVICE)
    return net.to(memory_format=torch.channels_last) if setting["channels_last"] else net


def batches(work: Work, setting: dict[str, Any]):
    """Batches [image, channel, row, column] on the device, from the images on the host."""
    if "threads" in setting:
        torch.set_num_threads(setting["threads"])
    layout = torch.channels_last if setting["channels_last"] else torch.contiguous_format
    for start in range(0, len(work.images), setting["batch"]):
        part = torch.from_numpy(work.images[start : start + setting["batch"]]).to(DEVICE)
        yield part.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def fresh(shape: torch.Size) -> list[torch.Tensor]:
    """State of six statistics: count, mean, sum of squares, fired, least, where, largest, where."""
    zero, none = torch.zeros(shape, device=DEVICE), torch.zeros(shape, dtype=torch.int32, device=DEVICE)
    count = torch.zeros((), dtype=torch.int32, device=DEVICE)
    return [count, zero, zero.clone(), none, zero + torch.inf, none.clone(), zero - torch.inf, none.clone()]


def updated(state: list[torch.Tensor], a: torch.Tensor) -> list[torch.Tensor]:
    """The state after one more batch (Chan, Golub, LeVeque)."""
    count, mean, squares, fired, low, low_at, high, high_at = state
    n = len(a)
    batch_mean = a.mean(0)
    off = a - batch_mean
    delta = batch_mean - mean
    squares = squares + (off * off).sum(0) + delta * delta * (count * (n / (count + n)))
    mean = mean + delta * (n / (count + n))
    fired = fired + (a > 0).sum(0, dtype=torch.int32)
    least, least_at = a.min(0)
    most, most_at = a.max(0)
    low_at = torch.where(least < low, (count + least_at).int(), low_at)
    high_at = torch.where(most > high, (count + most_at).int(), high_at)
    low, high = torch.minimum(low, least), torch.maximum(high, most)
    return [count + n, mean, squares, fired, low, low_at, high, high_at]


compiled_update = torch.compile(updated, dynamic=False)


class SixStatistics:
    """Mean, variance, extrema with their images, and firing rate of every point, as running statistics."""

    name = None  # what TorchLens asks of a statistic

    def __init__(self, setting: dict[str, Any]):
        self.step = compiled_update if setting["compile"] else updated
        self.state: list[torch.Tensor] = []

    def update(self, a: torch.Tensor) -> None:
        self.state = self.step(self.state or fresh(a.shape[1:]), a)

    def result(self) -> SixStatistics:
        return self

    def arrays(self, site: int) -> Result:
        return arrays(self.state, site)


def arrays(state: list[torch.Tensor], site: int) -> Result:
    count, mean, squares, fired, low, low_at, high, high_at = state
    values = {"mean": mean, "variance": squares / count, "min": low, "max": high}
    values |= {"min_index": low_at, "max_index": high_at, "firing": fired / count}
    return {f"{site}.{name}": on_the_host(value) for name, value in values.items()}


def on_the_host(value: torch.Tensor) -> np.ndarray:
    """As [row, column, channel]."""
    return value.cpu().numpy().transpose(1, 2, 0)


def device_name() -> str:
    return torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"


def device_peak() -> int | None:
    if DEVICE.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak
