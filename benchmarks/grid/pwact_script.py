"""The grid as one call of pwact, into a folder as the command does it.

Checkpoints and tables are in its time; the other scripts save nothing.
"""

from __future__ import annotations

import dataclasses
import tempfile

import jax
from serving import Work, serve

import pwact
from pwact.train import Recipe, grid


def levels(work: Work, name: str) -> list:
    return list(dict.fromkeys(network[name] for network in work.networks))


def train(work: Work) -> list[float]:
    parts = pwact.data.split(pwact.data.digits(), seed=0)
    config = pwact.models.quick(parts["train"].image_shape, parts["train"].num_classes)
    assert list(config.widths) == work.widths and list(config.strides) == work.strides
    assert len(parts["train"]) == len(work.images)
    with tempfile.TemporaryDirectory() as folder:
        found = grid(
            config,
            dataclasses.replace(Recipe(), **work.schedule),
            parts["train"],
            vary={name: levels(work, name) for name in ("norm", "width", "learning_rate")},
            seeds=levels(work, "seed"),
            test=parts["test"],
            folder=folder,
        )
    rows = found.results[found.results.split == "test"].set_index(["norm", "width", "learning_rate", "seed"])
    return [
        float(rows.accuracy[one["norm"], one["width"], one["learning_rate"], one["seed"]])
        for one in work.networks
    ]


if __name__ == "__main__":
    serve(train, f"pwact={pwact.__version__} jax={jax.__version__}")
