"""Captum's Summarizer, which counts every update as one sample: one update an image, a tensor a layer.

Captum has mean, variance, minimum and maximum. Firing is the mean of an indicator; which image gave an
extremum it cannot say, so this peer does less than the others.
"""

from __future__ import annotations

from typing import Any

import torch
from captum.attr._utils.stat import Max, Mean, Min, Var
from captum.attr._utils.summarizer import Summarizer
from torch_network import OPTIONS, batches, device_name, device_peak, network, on_the_host
from worker import Peer, Result, Run, Work, serve


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    net = network(work, setting)

    def run() -> Result:
        values, fired = Summarizer([Mean(), Var(), Min(), Max()]), Summarizer([Mean()])
        outputs: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
            for layer in net.relus().values()
        ]
        for batch in batches(work, setting):
            outputs.clear()
            net(batch)
            firing = [(output > 0).float() for output in outputs]
            for image in range(len(batch)):
                values.update(tuple(output[image] for output in outputs))
                fired.update(tuple(output[image] for output in firing))
        for hook in hooks:
            hook.remove()
        result = {}
        for i, (summary, share) in enumerate(zip(values.summary, fired.summary, strict=True)):
            summary = summary | {"firing": share["mean"]}
            result |= {f"{i}.{name}": on_the_host(value) for name, value in summary.items()}
        return result

    return run


if __name__ == "__main__":
    serve(Peer(build, {"six": OPTIONS}, ("captum", "torch", "numpy"), device_name, device_peak))
