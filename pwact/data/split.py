"""Fixed parts of a dataset."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from pwact.core.provenance import index_hash
from pwact.data.dataset import Dataset, check_indices
from pwact.data.seeds import generator
from pwact.errors import PwactError
from pwact.types import Batch


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Subset:
    """Some images of a dataset, itself a dataset. Made by `split` or by `subset`.

    Args:
        whole: the whole dataset, never itself a subset.
        index: places in the whole dataset, in increasing order.
        name: for tables and provenance.
    """

    whole: Dataset
    index: Int[np.ndarray, " image"]
    name: str

    def __repr__(self) -> str:
        return f"{self.name}: {len(self):,} images of {self.whole!r}"

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_classes(self) -> int:
        return self.whole.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.whole.image_shape

    @functools.cached_property
    def labels(self) -> Int[np.ndarray, " image"]:
        return self.whole.labels[self.index]

    @functools.cached_property
    def index_hash(self) -> str:
        return index_hash(self.index)

    @functools.cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256((self.whole.fingerprint + self.index_hash).encode()).hexdigest()

    def read(self, indices: Any) -> Batch:
        """The images at `indices` of this subset; `Batch.index` is their place in the whole dataset."""
        return self.whole.read(self.index[check_indices(indices, len(self))])

    @property
    def has_masks(self) -> bool:
        return getattr(self.whole, "has_masks", False)

    def masks(self, indices: Any) -> Bool[np.ndarray, "batch row column"]:
        """Exact object masks of the images at `indices` of this subset."""
        if not self.has_masks:
            raise PwactError(
                "a dataset with object masks",
                f"{self.whole.name!r}, which has none",
                "use a synthetic set: bag, relation or shape_texture",
            )
        at = self.index[check_indices(indices, len(self))]
        return self.whole.masks(at)  # type: ignore[attr-defined]


def subset(dataset: Dataset, indices: Any, *, name: str | None = None) -> Subset:
    """The images of `dataset` at `indices`.

    Args:
        dataset: a dataset or a subset of one.
        indices: places in `dataset`, each at most once; their order does not matter.
        name: the dataset's own name if not given.

    Returns:
        The subset. Its `index` speaks of the whole dataset, however often it was cut.

    Raises:
        PwactError: no indices, an index twice, or one outside the dataset.

    Example:
        >>> import pwact
        >>> scenes = pwact.data.bag(size=10)
        >>> half = pwact.data.subset(scenes, range(5, 10))
        >>> pwact.data.subset(half, [0, 2]).index
        array([5, 7], dtype=int32)
    """
    index = np.sort(check_indices(list(indices), len(dataset)))
    if len(index) == 0:
        raise PwactError("at least one image", f"an empty part of {dataset.name!r}", "choose more images")
    if (np.diff(index) == 0).any():
        raise PwactError("each image at most once", "an index that comes twice", "drop the repeated indices")
    if isinstance(dataset, Subset):
        return Subset(dataset.whole, dataset.index[index], name or dataset.name)
    return Subset(dataset, index, name or dataset.name)


def split(dataset: Dataset, *, seed: int, fractions: Mapping[str, float] | None = None) -> dict[str, Subset]:
    """Disjoint parts of a dataset, each with the classes in the same shares.

    Each class is shuffled on its own and dealt out by largest remainder. A part lacks a class only where the
    class has fewer images than there are parts; its images then go to the largest parts first.

    Args:
        dataset: what to split.
        seed: 0 or more; same seed, same parts, on every machine.
        fractions: share of each part, by name, adding up to 1; 0.8 train and 0.2 test if not given.

    Returns:
        The parts by name. Their `index_hash` goes into provenance.

    Raises:
        PwactError: fractions that are not positive or do not add up to 1; a part that would be empty.

    Example:
        >>> import pwact
        >>> parts = pwact.data.split(pwact.data.bag(size=100), seed=0)
        >>> len(parts["train"]), len(parts["test"])
        (80, 20)
    """
    fractions = {"train": 0.8, "test": 0.2} if fractions is None else dict(fractions)
    shares = np.array(list(fractions.values()), float)
    if len(shares) == 0 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise PwactError("positive fractions that add up to 1", f"{fractions}", "correct them")
    labels = np.asarray(dataset.labels)
    rng = generator(seed)
    chosen: list[list[np.ndarray]] = [[] for _ in shares]
    given = np.zeros(len(shares))
    seen = 0
    for label in range(dataset.num_classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        seen += len(members)
        counts = _deal(len(members), shares, seen * shares - given)
        given += counts
        for part, piece in zip(chosen, np.split(members, np.cumsum(counts)[:-1]), strict=True):
            part.append(piece)
    parts = {}
    for name, pieces in zip(fractions, chosen, strict=True):
        index = np.concatenate(pieces)
        if len(index) == 0:
            raise PwactError(
                "at least one image in each part",
                f"none for {name!r} of {len(dataset)} images",
                "use more images or fewer parts",
            )
        parts[name] = subset(dataset, index, name=f"{dataset.name}/{name}")
    return parts


def _deal(count: int, shares: np.ndarray, owed: np.ndarray) -> np.ndarray:
    """How many of one class's images each part gets; `owed` settles who gets the remainder."""
    counts = np.floor(count * shares + 1e-9).astype(int)
    while counts.sum() < count:
        counts[np.argmax(owed - counts)] += 1
    while count >= len(shares) and (counts == 0).any():
        counts[np.argmin(counts)] += 1
        counts[np.argmax(counts)] -= 1
    return counts
