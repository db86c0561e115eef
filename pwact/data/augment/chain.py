"""One augmentation after another."""

from __future__ import annotations

import jax
from jaxtyping import Array, Key, Num

from pwact.data.augment.augmentation import Augmentation, checked


def chain(*steps: Augmentation) -> Augmentation:
    """The steps in this order, each with a key of its own.

    Raises:
        PwactError: no steps.

    Example:
        >>> from pwact.data.augment import chain, cutout, flip
        >>> chain(flip(), cutout(size=8)).describe()
        'chain(flip(), cutout(size=8, fill=0.0))'
    """
    checked("steps", "of at least one augmentation", steps, len(steps) > 0)
    return Augmentation("chain", _chain, steps=steps)


def _chain(key: Key[Array, ""], image: Num[Array, "row column channel"], *steps: Augmentation) -> Array:
    for step, own in zip(steps, jax.random.split(key, len(steps)), strict=True):
        image = step.single(own, image)
    return image
