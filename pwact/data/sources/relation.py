"""The class is how two tokens lie to one another; every class holds the same tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from pwact.data.dataset import ArrayDataset
from pwact.data.scenes import GRID, balanced, check_scene, draw, random_cells
from pwact.data.seeds import generator

CLASSES = 3


def relation(size: int = 3000, seed: Any = 0, image_size: int = 24) -> ArrayDataset:
    """Scenes whose class is an arrangement: token B lies in A's row, in A's column, or diagonal to A.

    Every image of every class holds A, B and the same four distractors, once each, on a 4x4 grid. A's cell
    is uniform; B lies two cells away in the row (class 0), in the column (class 1) or in both (class 2). As
    two cells are half the grid, B's cell is uniform too, and A and B never lie in neighbouring cells: any
    patch too small to meet both of them has the same distribution in every class.

    Args:
        size: number of images; classes are as equal as can be.
        seed: an integer or a jax key. Same seed, same images.
        image_size: rows and columns, a multiple of 4, at least 20.

    Returns:
        uint8 images [size, image_size, image_size, 1], labels in 0 .. 2, exact masks of A and B together.

    Raises:
        PwactError: no images, an image size without room, or a seed that is neither integer nor key.

    Example:
        >>> from pwact.data import relation
        >>> scenes = relation(size=6, seed=1)
        >>> scenes.image_shape, scenes.masks([0]).sum()
        ((24, 24, 1), np.int64(16))
    """
    check_scene(size, image_size)
    rng = generator(seed)
    labels = balanced(rng, size, CLASSES)
    step = GRID // 2 * np.array([[0, 1], [1, 0], [1, 1]])[labels]
    first = rng.integers(0, GRID, (size, 2))
    second = (first + step) % GRID
    pair = np.stack([first, second], 1) @ np.array([GRID, 1])
    order = random_cells(rng, size)
    free = order[(order[..., None] != pair[:, None, :]).all(-1)].reshape(size, -1)
    tokens = np.broadcast_to(np.arange(6), (size, 6))
    cells = np.concatenate([pair, free[:, :4]], 1)
    images, masks = draw(rng, tokens, cells, np.arange(6) < 2, image_size)
    return ArrayDataset(images, labels, CLASSES, "relation", masks)
