"""What training leaves: variables of every seed, curves, and how they came to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from flax import nnx
from jaxtyping import Int

from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.architecture import Architecture
from pwact.train.recipe import Recipe
from pwact.train.treatment import Intervention, Member, Treatment


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """Networks of one configuration, one a seed.

    Args:
        config: what they are.
        recipe: how they were trained.
        treatment: `trained`, `shuffled_labels` or `untrained`.
        members: seed, held streams and own numbers of each, in the order of the leading axis of the rest.
        variables: an `nnx.State` whose arrays have a leading axis for the networks; with `Recipe.ema` the
            averaged parameters.
        curves: `loss` and `accuracy` (split, seed, epoch); split is `train` (means over the epoch's steps, in
            training mode, on the labels that were trained on) and, where there was a test set, `test`.
        labels: [network, image], what each was trained on, in the order of the training set.
        preprocess: from stored pixels to what the networks see.
        data: name, fingerprint and index hash of the training set.
        seconds: of training, compilation included.
        interventions: edits that were in place in training.
        diverged: the step at which each network's loss or parameters stopped being finite, from when on it
            was left as it was; None for those that went on to the end.
    """

    config: Architecture
    recipe: Recipe
    treatment: Treatment
    members: tuple[Member, ...]
    variables: Any
    curves: xr.Dataset
    labels: Int[np.ndarray, "network image"]
    preprocess: Preprocess
    data: dict[str, str]
    seconds: float
    interventions: tuple[Intervention, ...] = ()
    diverged: tuple[int | None, ...] = ()

    def __repr__(self) -> str:
        return (
            f"{len(self)} networks ({self.treatment}) of {self.parameters:,} parameters "
            f"on {self.data['name']}, {self.curves.sizes['epoch']} epochs"
        )

    def __len__(self) -> int:
        return len(self.members)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each network."""
        return tuple(member.seed for member in self.members)

    def at(self, place: int) -> Any:
        """The variables of one network: `seeds[place]`."""
        if not -len(self) <= place < len(self):
            raise PwactError(f"a place in 0 .. {len(self) - 1}", f"{place}", "see Trained.seeds")
        return jax.tree.map(lambda leaf: leaf[place], self.variables)

    def take(self, places: Sequence[int]) -> Trained:
        """Some of the networks; numbers that all of these share become those of their recipe."""
        places = list(places)
        members = [self.members[place] for place in places]
        shared = {
            name: value
            for name, value in members[0].numbers.items()
            if all(member.numbers.get(name) == value for member in members)
        }
        own = [
            member._replace(numbers={k: v for k, v in member.numbers.items() if k not in shared})
            for member in members
        ]
        at = np.array(places)
        return dataclasses.replace(
            self,
            recipe=self.recipe.with_numbers(shared),
            members=tuple(own),
            variables=jax.tree.map(lambda leaf: leaf[at], self.variables),
            curves=self.curves.isel(seed=places),
            labels=np.broadcast_to(self.labels, (len(self), self.labels.shape[1]))[at],
            diverged=tuple(self.diverged[place] for place in places) if self.diverged else (),
        )

    @property
    def parameters(self) -> int:
        """Trainable numbers in one network."""
        params = nnx.split_state(self.variables, nnx.Param, ...)[0]
        return sum(leaf.size for leaf in jax.tree.leaves(params)) // len(self)
