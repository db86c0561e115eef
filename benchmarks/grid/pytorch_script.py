"""The grid as a script in PyTorch: a loop over networks, epochs and batches."""

from __future__ import annotations

from typing import Any

import torch
from serving import Work, serve
from torch import nn
from torch.nn import functional as F


class SamePadding(nn.Module):
    """For a stride of 2 on an even map, as JAX pads: one below and on the right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (0, 1, 0, 1))


class Network(nn.Module):
    def __init__(self, work: Work, network: dict[str, Any]):
        super().__init__()
        layers: list[nn.Module] = []
        before, norm = work.images.shape[-1], network["norm"] == "batch"
        for place, (width, stride) in enumerate(zip(work.channels(network), work.strides, strict=True)):
            size = 3 if place else 5
            if stride == 2:
                layers.append(SamePadding())
            conv = nn.Conv2d(
                before, width, size, stride, padding=size // 2 if stride == 1 else 0, bias=not norm
            )
            nn.init.kaiming_normal_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()] if norm else [conv, nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, int(work.labels.max()) + 1)
        nn.init.normal_(self.head.weight, std=before**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean((2, 3)))


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        parts = zip(images.split(256), labels.split(256), strict=True)
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in parts) / len(labels)


def train(work: Work) -> list[float]:
    torch.set_num_threads(work.setting["threads"])
    layout = torch.channels_last if work.setting["channels_last"] else torch.contiguous_format
    images, test = (
        torch.from_numpy(part).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for part in (work.images, work.test_images)
    )
    labels, test_labels = torch.from_numpy(work.labels).long(), torch.from_numpy(work.test_labels).long()
    plan, found = work.schedule, []
    for network in work.networks:
        torch.manual_seed(network["seed"])
        model = Network(work, network).to(memory_format=layout)
        groups = [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": plan["weight_decay"]},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, network["learning_rate"], fused=work.setting["fused"])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, work.rate)
        for _ in range(plan["epochs"]):
            model.train()
            for at in torch.randperm(len(images))[: work.steps * plan["batch_size"]].split(
                plan["batch_size"]
            ):
                optimizer.zero_grad()
                F.cross_entropy(model(images[at]), labels[at]).backward()
                nn.utils.clip_grad_norm_(model.parameters(), plan["clip_norm"])
                optimizer.step()
                schedule.step()
            held_out = accuracy(model, test, test_labels)
        accuracy(model, images, labels)
        found.append(held_out)
    return found


if __name__ == "__main__":
    serve(train, f"torch={torch.__version__}")
