"""What training leaves: variables of every seed, curves, and how they came to be."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import xarray as xr
from flax import nnx
from jaxtyping import Int

from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.config import ModelConfig
from pwact.train.recipe import Recipe
from pwact.train.treatment import Intervention, Treatment


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """Networks of one configuration, one a seed.

    Args:
        config: what they are.
        recipe: how they were trained.
        treatment: `trained`, `shuffled_labels` or `untrained`.
        seeds: in the order of the leading axis of everything else.
        variables: an `nnx.State` whose arrays have a leading seed axis.
        curves: `loss` and `accuracy` (split, seed, epoch); split is `train` (means over the epoch's steps, in
            training mode, on the labels that were trained on) and, where there was a test set, `test`.
        labels: [seed, image], what each seed was trained on, in the order of the training set.
        preprocess: from stored pixels to what the networks see.
        data: name, fingerprint and index hash of the training set.
        seconds: of training, compilation included.
        intervention: what was in place at a site in training, and is in every evaluation.
    """

    config: ModelConfig
    recipe: Recipe
    treatment: Treatment
    seeds: tuple[int, ...]
    variables: Any
    curves: xr.Dataset
    labels: Int[np.ndarray, "seed image"]
    preprocess: Preprocess
    data: dict[str, str]
    seconds: float
    intervention: Intervention | None = None

    def __repr__(self) -> str:
        return (
            f"{len(self)} networks ({self.treatment}) of {self.parameters:,} parameters "
            f"on {self.data['name']}, {self.curves.sizes['epoch']} epochs"
        )

    def __len__(self) -> int:
        return len(self.seeds)

    def at(self, place: int) -> Any:
        """The variables of one network: `seeds[place]`."""
        if not -len(self) <= place < len(self):
            raise PwactError(f"a place in 0 .. {len(self) - 1}", f"{place}", "see Trained.seeds")
        return jax.tree.map(lambda leaf: leaf[place], self.variables)

    @property
    def parameters(self) -> int:
        """Trainable numbers in one network."""
        params = nnx.split_state(self.variables, nnx.Param, ...)[0]
        return sum(leaf.size for leaf in jax.tree.leaves(params)) // len(self)
