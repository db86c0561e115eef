"""PyTorch forward hooks that feed running statistics; and the bare forward pass of PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch_network import OPTIONS, SIX_OPTIONS, SixStatistics, batches, device_name, device_peak, network
from worker import Peer, Result, Run, Work, serve


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    net = network(work, setting)
    if task == "forward":
        forward = torch.compile(net, dynamic=False) if setting["compile"] else net

        def bare() -> Result:
            logits = [forward(batch) for batch in batches(work, setting)]
            return {"logits": torch.cat(logits).cpu().numpy()}

        return bare

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


if __name__ == "__main__":
    choices = {"forward": OPTIONS | {"compile": (False, True)}, "six": SIX_OPTIONS}
    serve(Peer(build, choices, ("torch", "numpy"), device_name, device_peak))
