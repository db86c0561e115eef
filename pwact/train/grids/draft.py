"""What a cell is made of, and how a single setting changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pwact.core.registry import resolve
from pwact.data import corruptions
from pwact.data.corrupted import corrupted
from pwact.data.dataset import Dataset
from pwact.data.seeds import generator
from pwact.data.split import subset
from pwact.errors import PwactError
from pwact.train.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Draft:
    """Everything that decides a cell's networks but their seed.

    Args:
        config: the architecture.
        recipe: how it is trained.
        streams: seeds that streams of randomness are held at, by name; the others follow a network's seed.
        images: how many of the training images; None for all.
        corruption: of training and held-out images, such as "fog(severity=3)"; None for none.
    """

    config: Any
    recipe: Recipe
    streams: Mapping[str, int] = dataclasses.field(default_factory=dict)
    images: int | None = None
    corruption: str | None = None


def width(config: Any) -> int:
    """Channels of the first block."""
    return int(config.widths[0])


def with_width(config: Any, value: int) -> Any:
    """The first block as wide as asked for, and the others in proportion.

    Raises:
        PwactError: a block would not have a whole number of channels.

    Example:
        >>> from pwact.models import ModelConfig
        >>> with_width(ModelConfig((8, 8, 1), 2, widths=(4, 6), strides=(1, 2)), 8).widths
        (8, 12)
    """
    scaled = [each * value / config.widths[0] for each in config.widths]
    if value < 1 or any(each != int(each) for each in scaled):
        step = config.widths[0] // np.gcd.reduce(config.widths)
        raise PwactError(
            f"a width that keeps {config.widths} in proportion", f"{value}", f"use multiples of {step}"
        )
    return dataclasses.replace(config, widths=tuple(int(each) for each in scaled))


def depth(config: Any) -> int:
    """Number of blocks."""
    return len(config.widths)


def with_depth(config: Any, value: int) -> Any:
    """The first so many blocks; the last one is repeated, without shrinking, where there are not enough.

    Example:
        >>> from pwact.models import ModelConfig
        >>> config = ModelConfig((8, 8, 1), 2, widths=(4, 6), strides=(1, 2))
        >>> with_depth(config, 3).widths, with_depth(config, 3).strides, with_depth(config, 1).widths
        ((4, 6, 6), (1, 2, 1), (4,))
    """
    if value < 1:
        raise PwactError("at least one block", f"{value}", "correct depth")
    more = max(0, value - len(config.widths))
    return dataclasses.replace(
        config,
        widths=(config.widths + config.widths[-1:] * more)[:value],
        strides=(config.strides + (1,) * more)[:value],
    )


def with_images(dataset: Dataset, count: int | None) -> Dataset:
    """So many of the images, the classes in their shares; a smaller number takes some of a larger one's.

    Raises:
        PwactError: more images than there are, or none.

    Example:
        >>> import pwact
        >>> scenes = pwact.data.bag(size=60)
        >>> few, more = with_images(scenes, 6), with_images(scenes, 12)
        >>> np.bincount(few.labels).tolist(), set(few.index) < set(more.index)
        ([2, 2, 2], True)
    """
    if count is None or count == len(dataset):
        return dataset
    if not 1 <= count <= len(dataset):
        raise PwactError(f"1 to {len(dataset)} training images", f"{count}", "correct images")
    labels = np.asarray(dataset.labels)
    rank = np.empty(len(labels))
    rng = generator(0)
    for label in range(dataset.num_classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        rank[members] = (np.arange(len(members)) + 0.5) / max(len(members), 1)
    first = np.argsort(rank, kind="stable")[:count]
    return subset(dataset, first, name=f"{dataset.name}/{count}")


def with_corruption(dataset: Dataset, text: str | None) -> Dataset:
    """The dataset through the corruption that the text names.

    Example:
        >>> import pwact
        >>> with_corruption(pwact.data.bag(size=6), "contrast(severity=5)")
        bag contrast 5: 6 images 24x24x1 uint8, 3 classes
    """
    if text is None:
        return dataset

    def made(name: str) -> Any:
        def make(severity: int = 3, white: int | None = None, key: int = 0) -> Dataset:
            return corrupted(dataset, name, severity=severity, white=white, key=key)

        return make

    return resolve(text, {name: made(name) for name in corruptions.__all__})
