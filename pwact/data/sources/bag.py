"""The class is which token is present anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from pwact.data.dataset import ArrayDataset
from pwact.data.scenes import balanced, check_scene, draw, random_cells
from pwact.data.seeds import generator

CLASSES = 3
DISTRACTORS = 5


def bag(size: int = 3000, seed: Any = 0, image_size: int = 24) -> ArrayDataset:
    """Scenes whose class is which of three tokens is present; where it lies says nothing.

    One class token and five distractors lie in random cells of a 4x4 grid. The distractors are drawn from
    five patterns of their own, in every class alike, so no bag without the class token tells the class and
    no arrangement adds to it.

    Args:
        size: number of images; classes are as equal as can be.
        seed: an integer or a jax key. Same seed, same images.
        image_size: rows and columns, a multiple of 4, at least 20.

    Returns:
        uint8 images [size, image_size, image_size, 1], labels in 0 .. 2, exact masks of the class token.

    Raises:
        PwactError: no images, an image size without room, or a seed that is neither integer nor key.

    Example:
        >>> from pwact.data import bag
        >>> scenes = bag(size=6, seed=1)
        >>> scenes.image_shape, scenes.masks([0]).sum()
        ((24, 24, 1), np.int64(8))
    """
    check_scene(size, image_size)
    rng = generator(seed)
    labels = balanced(rng, size, CLASSES)
    tokens = np.concatenate([labels[:, None], CLASSES + rng.integers(0, 5, (size, DISTRACTORS))], 1)
    cells = random_cells(rng, size)[:, : 1 + DISTRACTORS]
    images, masks = draw(rng, tokens, cells, np.arange(1 + DISTRACTORS) == 0, image_size)
    return ArrayDataset(images, labels, CLASSES, "bag", masks)
