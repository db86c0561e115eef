"""All networks of one training, in groups that each run as one program."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pwact.core import backend
from pwact.data.dataset import Dataset
from pwact.train import feed, program
from pwact.train.trained import Trained
from pwact.train.treatment import stream, stream_keys


class Company:
    """The training images, and the networks in groups as the backend plans.

    Args:
        networks: configuration, recipe, labels and members; its variables are not looked at.
        dataset: the training images.
        devices: that each step's images are split over.
        resident: whether all images stay on the device.
        workers: threads that read where they do not.
    """

    def __init__(
        self, networks: Trained, dataset: Dataset, devices: int, resident: bool, workers: int | None = None
    ):
        self.networks = networks
        self.dataset = dataset
        self.workers = workers
        plan = backend.seed_plan(len(networks), devices)
        dtype = str(np.asarray(dataset.read(np.arange(1)).image).dtype)
        self.task = program.Task(
            networks.config,
            networks.recipe.structure(),
            networks.preprocess,
            networks.interventions,
            plan,
            len(dataset),
            dtype,
            resident,
        )
        members = networks.members
        self.groups = [slice(i, i + plan.together) for i in range(0, len(members), plan.together)]
        self.initial = [stream_keys(members[group], "initialisation") for group in self.groups]
        self.keys = [program.Keys.of(members[group]) for group in self.groups]
        self.numbers = [
            {
                name: jnp.asarray(value)
                for name, value in program.numbers_of(networks.recipe, members[group]).items()
            }
            for group in self.groups
        ]
        labels = np.broadcast_to(networks.labels, (len(members), len(dataset)))
        self.labels = [jnp.asarray(labels[group], jnp.int32) for group in self.groups]
        self.pixels = feed.resident(dataset, self.task.sharding()) if resident else None
        self.order: tuple[int, int, list[Any]] | None = None

    def init(self, started: Callable[[int, int], None] = lambda done, epochs: None) -> list[program.Carry]:
        """The carry of each group before the first step, its initialiser's own training included."""
        task = self.task
        draw = program.first(task)
        carries = [draw(keys, numbers) for keys, numbers in zip(self.initial, self.numbers, strict=True)]
        initializer = task.recipe.method("initializer")
        if task.recipe.initializer == "default()":
            return carries
        pretraining = [
            program.Keys(*(jax.vmap(lambda key: stream(key, "pretraining"))(each) for each in keys))
            for keys in self.keys
        ]
        for epoch in range(initializer.epochs):
            carries, _ = self.steps(carries, epoch, 0, task.steps, pretraining)
            started(epoch + 1, initializer.epochs)
        return [self._drawn(initializer, place, carry) for place, carry in enumerate(carries)]

    def _drawn(self, initializer: Any, place: int, carry: program.Carry) -> program.Carry:
        """One group after its initialiser drew the parameters of each network."""
        keys = jax.vmap(lambda key: stream(key, "initializer"))(self.initial[place])
        single = [jax.tree.map(lambda leaf, i=i: leaf[i], carry.params) for i in range(len(keys))]
        drawn = [initializer.draw(key, params) for key, params in zip(keys, single, strict=True)]
        params = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *drawn)
        return program.begun(self.task)(params, carry.rest, self.numbers[place])

    def split(self, carry: Any) -> list[Any]:
        """A tree of all networks, by group."""
        return [
            jax.tree.map(lambda leaf, group=group: jnp.array(leaf[group]), carry) for group in self.groups
        ]

    def steps(
        self,
        carries: list[program.Carry],
        epoch: int,
        begin: int,
        end: int,
        keys: list[program.Keys] | None = None,
    ) -> tuple[list[program.Carry], program.Scores]:
        """Some steps of an epoch for every network: the new carries, and scores [network, step] by name."""
        run = program.stepping(self.task)
        keys = self.keys if keys is None else keys
        orders = self._order(epoch, keys)

        def one(place: int) -> tuple[program.Carry, program.Scores]:
            return run(
                carries[place],
                self.numbers[place],
                keys[place],
                self.labels[place],
                orders[place],
                epoch,
                begin,
                end,
                self.pixels if self.task.resident else self._feed(orders[place]),
            )

        with ThreadPoolExecutor(self.task.plan.at_once) as pool:
            found = list(pool.map(one, range(len(self.groups))))
        new, scores = zip(*found, strict=True)
        names = scores[0]
        return list(new), {name: np.concatenate([each[name].T for each in scores]) for name in names}

    def _order(self, epoch: int, keys: list[program.Keys]) -> list[Any]:
        """Places [network, step, image of the step] of each group; those of the last epoch are kept."""
        if self.order is None or self.order[:2] != (epoch, id(keys)):
            draw = program.ordering(self.task)
            number = jnp.int32(epoch)
            found = [draw(own.order, labels, number) for own, labels in zip(keys, self.labels, strict=True)]
            self.order = epoch, id(keys), found
        return self.order[2]

    def _feed(self, places: Any) -> Any:
        return feed.streamed(self.dataset, np.asarray(places), self.task.sharding(None, "data"), self.workers)


def variables(carries: list[program.Carry]) -> Any:
    """The variables of all networks, with a leading axis: averaged parameters where there are any."""
    joined = [
        nnx.merge_state(carry.params if carry.average is None else carry.average, carry.rest)
        for carry in carries
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *joined)
