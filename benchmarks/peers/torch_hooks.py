"""PyTorch: forward hooks that feed running statistics, network and updates compiled as one, bare forward."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch_network import (
    LAYOUT,
    OPTIONS,
    SIX_OPTIONS,
    THREADS,
    Network,
    SixStatistics,
    arrays,
    batches,
    device_name,
    device_peak,
    fresh,
    network,
    updated,
)
from worker import Peer, Result, Run, Work, serve


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    net = network(work, setting)
    if task == "forward":
        forward = torch.compile(net, dynamic=False) if setting["compile"] else net

        def bare() -> Result:
            logits = [forward(batch) for batch in batches(work, setting)]
            return {"logits": torch.cat(logits).cpu().numpy()}

        return bare

    if task == "six by hand":
        return by_hand(work, net, setting)

    def run() -> Result:
        found = [SixStatistics(setting) for _ in net.relus()]
        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, output, to=statistics: to.update(output))
            for layer, statistics in zip(net.relus().values(), found, strict=True)
        ]
        for batch in batches(work, setting):
            net(batch)
        for hook in hooks:
            hook.remove()
        return {name: value for i, six in enumerate(found) for name, value in six.arrays(i).items()}

    return run


def by_hand(work: Work, net: Network, setting: dict[str, Any]) -> Run:
    """Without hooks: network and updates compiled as one function."""

    @partial(torch.compile, dynamic=False)
    def step(states: list[list[torch.Tensor]], x: torch.Tensor) -> list[list[torch.Tensor]]:
        new = []
        for layer in net.layers:
            x = layer(x)
            if isinstance(layer, torch.nn.ReLU):
                new.append(updated(states[len(new)], x))
        net.head(x.mean((2, 3)))
        return new

    shapes, x = [], next(batches(work, setting | {"batch": 1}))
    for layer in net.layers:
        x = layer(x)
        shapes += [x.shape[1:]] if isinstance(layer, torch.nn.ReLU) else []

    def run() -> Result:
        states = [fresh(shape) for shape in shapes]
        for batch in batches(work, setting):
            states = step(states, batch)
        return {name: value for i, state in enumerate(states) for name, value in arrays(state, i).items()}

    return run


if __name__ == "__main__":
    forward = THREADS | {"compile": (False, True)} | LAYOUT
    choices = {"forward": forward, "six": SIX_OPTIONS, "six by hand": OPTIONS}
    serve(Peer(build, choices, ("torch", "numpy"), device_name, device_peak))
