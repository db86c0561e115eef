"""All seeds of one call of `train`, in groups that each run as one program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pwact.core import backend
from pwact.data.dataset import Dataset
from pwact.train import program
from pwact.train.trained import Trained


class Company:
    """The training set on the device, and the seeds in groups as the backend plans.

    Args:
        networks: configuration, recipe, labels and seeds; its variables are not looked at.
        dataset: the training images.
    """

    def __init__(self, networks: Trained, dataset: Dataset):
        self.networks = networks
        self.plan = plan = backend.seed_plan(len(networks))
        self.groups = [slice(i, i + plan.together) for i in range(0, len(networks), plan.together)]
        self.pixels = jnp.asarray(dataset.read(np.arange(len(dataset))).image)
        keys = jax.vmap(jax.random.key)(jnp.array(networks.seeds, jnp.uint32))
        self.keys = [keys[group] for group in self.groups]
        self.labels = [jnp.asarray(networks.labels[group], jnp.int32) for group in self.groups]

    def init(self) -> list[program.Carry]:
        """The carry of each group before the first step."""
        networks = self.networks
        draw = program.first(networks.config, networks.recipe, len(self.pixels))
        return [draw(keys) for keys in self.keys]

    def split(self, carry: program.Carry) -> list[program.Carry]:
        """A carry of all seeds, by group."""
        return [
            jax.tree.map(lambda leaf, group=group: jnp.array(leaf[group]), carry) for group in self.groups
        ]

    def epoch(
        self, carries: list[program.Carry], number: int
    ) -> tuple[list[program.Carry], np.ndarray, np.ndarray]:
        """One epoch of every seed: the new carries, losses and accuracies [seed, step]."""
        networks = self.networks
        run = program.training(
            networks.config,
            networks.recipe,
            networks.preprocess,
            networks.intervention,
            self.plan,
            len(self.pixels),
            str(self.pixels.dtype),
        )

        def one(place: int) -> tuple[program.Carry, np.ndarray, np.ndarray]:
            return run(carries[place], self.keys[place], number, self.pixels, self.labels[place])

        with ThreadPoolExecutor(self.plan.at_once) as pool:
            found = list(pool.map(one, range(len(self.groups))))
        new, losses, correct = zip(*found, strict=True)
        return list(new), np.concatenate(losses), np.concatenate(correct)


def variables(carries: list[program.Carry]) -> Any:
    """The variables of all seeds, with a leading seed axis."""
    joined = [nnx.merge_state(carry.params, carry.rest) for carry in carries]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *joined)
