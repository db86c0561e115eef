"""In which order an epoch goes through the images, from keys."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from pwact.data.dataset import Dataset
from pwact.errors import PwactError
from pwact.train.recipe import Recipe, Sampling


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


def check_batches(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse batches that these images do not fill."""
    batches = recipe.method("update").batches
    if recipe.batch_size * batches > len(dataset):
        times = "" if batches == 1 else f"{batches} batches of "
        raise PwactError(
            f"no more images a step than the {len(dataset)} of {dataset.name!r}",
            f"{times}batch_size={recipe.batch_size}",
            f"set batch_size to {len(dataset) // batches} or less",
        )
    if recipe.sampling != "balanced":
        return
    size, classes = recipe.batch_size, dataset.num_classes
    if size % classes:
        raise PwactError(
            f"a batch that divides by the {classes} classes, as sampling is balanced",
            f"{size} images a batch",
            f"set batch_size to {max(classes, size // classes * classes)}",
        )
    empty = sorted(set(range(classes)) - set(np.asarray(dataset.labels).tolist()))
    if empty:
        raise PwactError(
            "images of every class, as sampling is balanced",
            f"none of class {', '.join(map(str, empty[:5]))}",
            "use sampling='shuffled', or images of every class",
        )


def check_devices(recipe: Recipe, devices: int) -> None:
    """Refuse more devices than there are, or batches that do not divide by them."""
    if devices < 1 or devices > len(jax.devices()):
        raise PwactError(f"1 .. {len(jax.devices())} devices", f"{devices}", "pass as many as there are")
    if recipe.batch_size % (devices * recipe.accumulate):
        parts = f" times accumulate={recipe.accumulate}" if recipe.accumulate > 1 else ""
        raise PwactError(
            f"a batch that divides by {devices} devices{parts}",
            f"batch_size={recipe.batch_size}",
            "change batch_size or the number of devices",
        )
