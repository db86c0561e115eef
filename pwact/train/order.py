"""In which order an epoch goes through the images, from keys."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from pwact.errors import PwactError
from pwact.train.recipe import Sampling


def epoch_order(
    key: Any,
    labels: Int[Array, " image"],
    *,
    steps: int,
    size: int,
    num_classes: int,
    sampling: Sampling,
) -> Int[Array, "step place"]:
    """Which images each step of an epoch takes, for one network; a pure function of its arguments.

    Args:
        key: of this epoch.
        labels: of the training images.
        steps: in the epoch.
        size: images a step takes.
        num_classes: labels are below it.
        sampling: `shuffled`: each image at most once. `balanced`: equally many of each class in a step, and
            an image again only when its whole class has been taken as often.

    Example:
        >>> labels = jnp.array([0, 0, 0, 1])
        >>> order = epoch_order(
        ...     jax.random.key(0), labels, steps=2, size=2, num_classes=2, sampling="balanced"
        ... )
        >>> labels[order].sum(1).tolist()
        [1, 1]
    """
    images = len(labels)
    drawn = jax.random.permutation(key, images)
    if sampling == "shuffled":
        return drawn[: steps * size].reshape(steps, size)
    each = size // num_classes
    grouped = drawn[jnp.argsort(labels[drawn], stable=True)]
    counts = jnp.bincount(labels, length=num_classes)
    begins = jnp.cumsum(counts) - counts
    turn = jnp.arange(steps)[:, None] * each + jnp.arange(each)[None, :]  # [step, of a class]
    at = begins[None, :, None] + turn[:, None, :] % counts[None, :, None]  # [step, class, of a class]
    return grouped[at.reshape(steps, num_classes * each)]


def check_order(sampling: Sampling, size: int, labels: Any, num_classes: int, images: int) -> None:
    """Refuse a batch that the images cannot fill."""
    if size < 1:
        raise PwactError("at least one image for each batch of a step", f"{images} images", "use more images")
    if sampling != "balanced":
        return
    if size % num_classes:
        raise PwactError(
            f"a batch that divides by the {num_classes} classes, as sampling is balanced",
            f"{size} images a step",
            f"set batch_size to {max(num_classes, size // num_classes * num_classes)}",
        )
    empty = sorted(set(range(num_classes)) - set(labels.ravel().tolist()))
    if empty:
        raise PwactError(
            "images of every class, as sampling is balanced",
            f"none of class {', '.join(map(str, empty[:5]))}",
            "use sampling='shuffled', or images of every class",
        )
