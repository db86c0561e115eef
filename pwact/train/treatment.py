"""What is done to a network besides the recipe: labels that mean something, labels that do not, nothing."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from pwact.errors import PwactError

Treatment = Literal["trained", "shuffled_labels", "untrained"]


@dataclasses.dataclass(frozen=True)
class Intervention:
    """A change at one site that stays in place in training and in every evaluation.

    Args:
        site: a site of the network, e.g. `blocks.1.relu`.
        fn: (key, activation [batch, row, column, channel]) -> activation of the same shape and dtype. Give
            the same function object for the same change: programs are kept by it.
    """

    site: str
    fn: Callable[[Any, Float[Array, "batch row column channel"]], Float[Array, "batch row column channel"]]

    @property
    def name(self) -> str:
        """The site and the function's name, for provenance."""
        return f"{getattr(self.fn, '__name__', type(self.fn).__name__)} at {self.site}"


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Seeds as integers: at least one, none twice, each one that a jax key can hold."""
    found = tuple(seeds)
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) for seed in found)
    if not found or not whole or not all(0 <= seed < 2**32 for seed in found):
        raise PwactError(
            "at least one seed, each a whole number in 0 .. 2^32 - 1", repr(found)[:80], "use range(10)"
        )
    if len(set(found)) < len(found):
        twice = next(seed for seed in found if found.count(seed) > 1)
        raise PwactError(
            "different seeds", f"{twice} more than once", "drop it: it would be the same network twice"
        )
    return tuple(int(seed) for seed in found)


def check_treatment(treatment: str) -> None:
    """Refuse a treatment that does not exist."""
    if treatment not in get_args(Treatment):
        raise PwactError(f"one of: {', '.join(get_args(Treatment))}", repr(treatment), "pick one of these")


def stream(key: Any, purpose: str) -> Any:
    """An independent key for one purpose (`order`, `labels`, `intervention`, ...) of a seed's key."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def labels_for(
    treatment: Treatment, labels: Int[np.ndarray, " image"], seeds: Sequence[int]
) -> Int[np.ndarray, "seed image"]:
    """The labels that each seed is trained on; `shuffled_labels` permutes them anew for each seed."""
    if treatment != "shuffled_labels":
        return np.broadcast_to(labels, (len(seeds), len(labels)))
    keys = (stream(jax.random.key(seed), "labels") for seed in seeds)
    return np.stack([np.asarray(jax.random.permutation(key, labels)) for key in keys])
