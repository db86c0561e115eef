"""A dataset seen through a common corruption."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from pwact.core.registry import nearest
from pwact.data import corruptions
from pwact.data.corruptions.level import SMALL, Level
from pwact.data.dataset import Dataset
from pwact.data.seeds import seed_words
from pwact.data.split import Subset, subset
from pwact.errors import PwactError
from pwact.types import Batch

SAMPLE = 64


def corrupted(
    dataset: Dataset, corruption: str, *, severity: int = 3, key: Any = 0, white: int | None = None
) -> Corrupted | Subset:
    """The images of a dataset, corrupted as they are read.

    The noise of an image is drawn from the key and its place in the whole dataset: the same whatever the
    batch, the order and the part, and the same draws at every severity.

    Constants are those of CIFAR-10-C where the shorter side is up to 64 pixels, and those of ImageNet-C
    above. Lengths in them are pixels and are not scaled: a blur is harder on an image of 28 pixels than on
    one of 32. Results are rounded to the nearest pixel value (the published program cuts off).

    Args:
        dataset: uint8 images of 1 or 3 channels; of a subset the whole is corrupted and the part kept.
        corruption: one of `pwact.data.corruptions`; each says there how close it is to the published one.
        severity: 1 to 5.
        key: an integer or a jax key.
        white: the pixel value of white, 255 if not given (`digits` has 16).

    Returns:
        A dataset with the labels and masks of `dataset`.

    Raises:
        PwactError: an unknown corruption or severity; images that are not uint8 or not of 1 or 3 channels;
            pixels above `white`, or all so dark that 255 can hardly be their white and none was given.

    Example:
        >>> import pwact
        >>> scenes = pwact.data.bag(size=6)
        >>> hard = pwact.data.corrupted(scenes, "gaussian_noise", severity=5, key=1)
        >>> hard
        bag gaussian_noise 5: 6 images 24x24x1 uint8, 3 classes
        >>> bool((hard.read([2, 4]).image == hard.read([4, 2]).image[::-1]).all())
        True

    Reference: D. Hendrycks, T. Dietterich, ICLR 2019.
    """
    if corruption not in corruptions.__all__:
        raise PwactError("a corruption", f"{corruption!r}", nearest(corruption, corruptions.__all__))
    if not callable(getattr(dataset, "read", None)):
        raise PwactError("a dataset", f"{dataset!r}", "load one: pwact.data.load(name)")
    if isinstance(severity, bool) or severity not in (1, 2, 3, 4, 5):
        raise PwactError("a severity of 1 to 5", f"{severity!r}", "3 is the middle")
    words = tuple(seed_words(key))
    if isinstance(dataset, Subset):
        whole = corrupted(dataset.whole, corruption, severity=severity, key=key, white=white)
        return subset(whole, dataset.index, name=whole.name + dataset.name.removeprefix(dataset.whole.name))
    white = _white(dataset, white)
    if corruption == "saturate" and dataset.image_shape[2] != 3:
        raise PwactError("images of 3 channels for saturate", f"{dataset.name!r}, grey", "pick another one")
    name = f"{dataset.name} {corruption} {severity}"
    return Corrupted(dataset, corruption, severity, words, white, name)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Corrupted:
    """A dataset seen through a corruption. Made by `corrupted`.

    Args:
        whole: the dataset as it is, never a subset.
        corruption: one of `pwact.data.corruptions`.
        severity: 1 to 5.
        words: of the key.
        white: the pixel value of white.
        name: for tables and provenance.
    """

    whole: Dataset
    corruption: str
    severity: int
    words: tuple[int, ...]
    white: int
    name: str

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return f"{self.name}: {len(self):,} images {shape} uint8, {self.num_classes} classes"

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.whole.image_shape

    @property
    def num_classes(self) -> int:
        return self.whole.num_classes

    @property
    def labels(self) -> Int[np.ndarray, " image"]:
        return self.whole.labels

    @property
    def index_hash(self) -> str:
        return self.whole.index_hash

    @functools.cached_property
    def fingerprint(self) -> str:
        how = (self.whole.fingerprint, self.corruption, self.severity, self.words, self.white)
        return hashlib.sha256(repr(how).encode()).hexdigest()

    def read(self, indices: Any) -> Batch:
        """The images at `indices`, corrupted, as NumPy arrays of a `Batch`."""
        batch = self.whole.read(indices)
        images = [
            self._one(np.asarray(image), int(at)) for image, at in zip(batch.image, batch.index, strict=True)
        ]
        return batch._replace(image=np.stack(images) if images else batch.image)  # type: ignore[arg-type]

    def _one(self, image: np.ndarray, at: int) -> np.ndarray:
        if image.max() > self.white:
            raise PwactError(
                f"pixels of at most white={self.white}", f"{image.max()} in image {at}", "give their white"
            )
        level = Level(self.severity, small=min(self.image_shape[:2]) <= SMALL)
        rng = np.random.default_rng([*self.words, at])
        result = getattr(corruptions, self.corruption)(image / self.white, level, rng)
        return np.round(np.clip(result, 0, 1) * self.white).astype(np.uint8)

    @property
    def has_masks(self) -> bool:
        return getattr(self.whole, "has_masks", False)

    def masks(self, indices: Any) -> Bool[np.ndarray, "batch row column"]:
        """Exact object masks of the images at `indices`, as they are without the corruption."""
        return self.whole.masks(indices)  # type: ignore[attr-defined]


def _white(dataset: Dataset, given: int | None) -> int:
    if given is not None and not 1 <= given <= 255:
        raise PwactError("a white of 1 to 255", f"{given}", "give the largest value that a pixel may have")
    spread = np.unique(np.linspace(0, len(dataset) - 1, SAMPLE).astype(np.int32))
    images = np.asarray(dataset.read(spread).image)
    if images.dtype != np.uint8 or images.shape[-1] not in (1, 3):
        raise PwactError(
            "uint8 images of 1 or 3 channels",
            f"{images.dtype} of {images.shape[-1]} in {dataset.name!r}",
            "corrupt them before they are preprocessed",
        )
    if given is None and images.max() < 128:
        raise PwactError(
            "white, as no pixel comes near 255",
            f"{images.max()} as the brightest of {len(images)} images of {dataset.name!r}",
            f"give white={images.max()}, or white=255 if they are dark",
        )
    return given or 255
