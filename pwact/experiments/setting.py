"""The network, the images and the recipe that experiments share, unless a specification says otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from pwact.data import digits, split
from pwact.data.preprocess import Preprocess
from pwact.data.split import Subset
from pwact.errors import PwactError
from pwact.experiments.identity import Arm
from pwact.models.config import ModelConfig
from pwact.train.recipe import Recipe

IMAGES, CLASSES = (8, 8, 1), 10
TRAIN, TEST = 1000, 697

UNIT = Preprocess((0.0,), (16.0,))
"""Digits, stored as 0 to 16, in 0 to 1: what perturbations of a stated size speak of."""


class Parts(NamedTuple):
    """Training and test images."""

    train: Subset
    test: Subset


def digits_parts(images: int = TRAIN) -> Parts:
    """Digits: the same 697 test images always, and so many training images of the other 1,100.

    Args:
        images: training images, 10 to 1,100, with the classes in the shares of the whole; a larger set holds
            all of a smaller one.

    Returns:
        The parts.

    Raises:
        PwactError: more images than there are.

    Example:
        >>> parts = digits_parts(200)
        >>> len(parts.train), len(parts.test)
        (200, 697)
    """
    whole = digits()
    rest = len(whole) - TEST
    if not CLASSES <= images <= rest:
        raise PwactError(f"{CLASSES} to {rest} training images", f"{images}", "ask for so many")
    shares = {"train": rest / len(whole), "test": TEST / len(whole)}
    halves = split(whole, seed=0, fractions=shares)
    if images == rest:
        return Parts(halves["train"], halves["test"])
    chosen = split(halves["train"], seed=0, fractions={"train": images / rest, "rest": 1 - images / rest})
    return Parts(chosen["train"], halves["test"])


def base_config(**changes: Any) -> ModelConfig:
    """conv3x3-16, max-pool, conv3x3-32, conv3x3-32, the mean over points, dense-10; no norm.

    Args:
        **changes: fields of `ModelConfig` that differ.

    Example:
        >>> base_config(norm="batch").widths
        (16, 32, 32)
    """
    fields = {
        "widths": (16, 32, 32),
        "strides": (2, 1, 1),
        "kernel_size": 3,
        "first_kernel_size": 3,
        "norm": "none",
        "pooling": "max",
        "head": "gap",
    }
    return ModelConfig(IMAGES, CLASSES, **(fields | changes))  # type: ignore[arg-type]


def base_recipe(**changes: Any) -> Recipe:
    """SGD with momentum .9, warm-up over a tenth of the steps, gradients cut to norm 5, no weight decay.

    25 epochs of batches of 50; after the warm-up the learning rate stays at .1, as no specification names a
    decay.

    Args:
        **changes: fields of `Recipe` that differ.

    Example:
        >>> base_recipe(epochs=15).momentum
        0.9
    """
    plain = Recipe(
        epochs=25,
        batch_size=50,
        learning_rate=0.1,
        optimizer="sgd",
        momentum=0.9,
        nesterov=False,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.1,
        clip_norm=5.0,
    )
    return dataclasses.replace(plain, **changes)


def digits_arm(name: str, *, images: int = TRAIN, **fields: Any) -> Arm:
    """An arm on digits in 0 to 1; base network and base recipe where `fields` has no other.

    Args:
        name: of the arm.
        images: training images.
        **fields: of `Arm`.

    Example:
        >>> arm = digits_arm("plain", images=200, recipe=base_recipe(learning_rate=0.05))
        >>> len(arm.dataset), arm.config == base_config()
        (200, True)
    """
    parts = digits_parts(images)
    given: dict[str, Any] = {
        "config": base_config(),
        "recipe": base_recipe(),
        "dataset": parts.train,
        "test": parts.test,
        "preprocess": UNIT,
    }
    return Arm(name, **(given | fields))
