"""Shape against texture: the cues agree in training and disagree in conflict scenes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pwact.data.dataset import ArrayDataset
from pwact.data.scenes import balanced, check_scene
from pwact.data.seeds import generator

CLASSES = 3


def shape_texture(
    size: int = 3000, seed: Any = 0, image_size: int = 24, conflict: bool = False
) -> ArrayDataset:
    """One textured object a scene: shape (square, disc, cross) and texture (rows, columns, checks).

    Without conflict, shape and texture name the same class; with it they always name different classes, so
    a network's answers say which cue it follows.

    Args:
        size: number of images; classes are as equal as can be.
        seed: an integer or a jax key. Same seed, same images.
        image_size: rows and columns, a multiple of 4, at least 20.
        conflict: whether shape and texture disagree.

    Returns:
        uint8 images [size, image_size, image_size, 1], labels by shape, exact masks of the object;
        `attributes["shape"]` and `attributes["texture"]` are the labels by either cue.

    Raises:
        PwactError: no images, an image size without room, or a seed that is neither integer nor key.

    Example:
        >>> from pwact.data import shape_texture
        >>> scenes = shape_texture(size=9, conflict=True)
        >>> (scenes.attributes["shape"] != scenes.attributes["texture"]).all()
        np.True_

    Reference: R. Geirhos et al., ImageNet-trained CNNs are biased towards texture, ICLR 2019 (the idea of
    cue conflict; these scenes are our own).
    """
    check_scene(size, image_size)
    rng = generator(seed)
    shape = balanced(rng, size, CLASSES)
    texture = (shape + rng.integers(1, CLASSES, size)) % CLASSES if conflict else shape
    row, column = np.mgrid[:image_size, :image_size]
    radius = rng.uniform(0.25, 0.36, size) * image_size
    middle = radius[:, None] + rng.random((size, 2)) * (image_size - 1 - 2 * radius[:, None])
    dy = np.abs(row - middle[:, 0, None, None])
    dx = np.abs(column - middle[:, 1, None, None])
    r = radius[:, None, None]
    # Half widths that give the three shapes about the same area, pi / 4 of the square around them.
    square = np.maximum(dy, dx) <= r * np.sqrt(np.pi / 4)
    disc = np.hypot(dy, dx) <= r
    cross = (np.maximum(dy, dx) <= r) & (np.minimum(dy, dx) <= r * (1 - np.sqrt(1 - np.pi / 4)))
    masks = np.choose(shape[:, None, None], [square, disc, cross])
    phase = rng.integers(0, 4, (2, size, 1, 1))
    y, x = (row + phase[0]) // 2 % 2, (column + phase[1]) // 2 % 2
    light = np.choose(texture[:, None, None], np.broadcast_arrays(y, x, y ^ x)) == 1
    value = rng.integers(160, 256, (size, 1, 1))
    dark = rng.integers(60, 100, (size, 1, 1))
    images = rng.integers(0, 41, masks.shape)
    images = np.where(masks, np.where(light, value, dark), images).astype(np.uint8)
    labels = {"shape": shape, "texture": texture.astype(np.int32)}
    return ArrayDataset(images[..., None], shape, CLASSES, "shape_texture", masks, labels)
