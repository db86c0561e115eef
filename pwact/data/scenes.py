"""What the token scenes share: the alphabet, the grid, and drawing tokens on it.

A scene is a 4x4 grid of cells. A token is a 4x4 pixel pattern in a cell, moved by up to `cell - 4 - GAP`
pixels, so tokens in neighbouring cells never touch.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, UInt8

from pwact.errors import PwactError

GRID = 4
TOKEN = 4
GAP = 1

#: Eight patterns with 8 of 16 pixels set each, so no token is told by its brightness.
ALPHABET: Bool[np.ndarray, "token row column"] = (
    np.array(
        [
            ["1111", "1111", "0000", "0000"],
            ["1100", "1100", "1100", "1100"],
            ["1100", "1100", "0011", "0011"],
            ["1001", "0110", "0110", "1001"],
            ["1010", "0101", "1010", "0101"],
            ["1111", "0000", "0000", "1111"],
            ["0110", "1001", "1001", "0110"],
            ["1001", "1001", "1001", "1001"],
        ]
    )
    .view("U1")
    .reshape(-1, TOKEN, TOKEN)
    == "1"
)


def check_scene(size: int, image_size: int) -> None:
    """Refuse a scene without images or with cells that hold no token."""
    if size < 1:
        raise PwactError("at least one image", f"size={size}", "ask for more images")
    least = GRID * (TOKEN + GAP)
    if image_size % GRID or image_size < least:
        raise PwactError(
            f"an image size that is a multiple of {GRID} and at least {least}",
            f"{image_size}",
            "use 24 or 28",
        )


def draw(
    rng: np.random.Generator,
    tokens: Int[np.ndarray, "image token"],
    cells: Int[np.ndarray, "image token"],
    relevant: Bool[np.ndarray, " token"],
    image_size: int,
) -> tuple[UInt8[np.ndarray, "image row column 1"], Bool[np.ndarray, "image row column"]]:
    """Scenes with `tokens` in `cells`, and the mask of the pixels that the relevant tokens set.

    Each token has its own brightness in 160 .. 255; the background is uniform noise in 0 .. 40.
    """
    count, per_image = tokens.shape
    cell = image_size // GRID
    images = rng.integers(0, 41, (count, image_size, image_size), dtype=np.uint8)
    masks = np.zeros(images.shape, bool)
    shift = rng.integers(0, cell - TOKEN - GAP + 1, (2, count, per_image))
    value = rng.integers(160, 256, (count, per_image), dtype=np.uint8)
    row = cells // GRID * cell + shift[0]
    column = cells % GRID * cell + shift[1]
    offset = np.arange(TOKEN)
    rows = (row[..., None, None] + offset[:, None]).repeat(TOKEN, -1)
    columns = (column[..., None, None] + offset).repeat(TOKEN, -2)
    pattern = ALPHABET[tokens]
    image = np.broadcast_to(np.arange(count)[:, None, None, None], pattern.shape)
    images[image[pattern], rows[pattern], columns[pattern]] = (value[..., None, None] * pattern)[pattern]
    told = pattern & relevant[None, :, None, None]
    masks[image[told], rows[told], columns[told]] = True
    return images[..., None], masks


def balanced(rng: np.random.Generator, size: int, num_classes: int) -> Int[np.ndarray, " image"]:
    """Labels in random order whose counts differ by at most one."""
    return rng.permutation(np.arange(size) % num_classes).astype(np.int32)


def random_cells(rng: np.random.Generator, size: int) -> Int[np.ndarray, "image cell"]:
    """For each image, all cells in random order."""
    return rng.random((size, GRID * GRID)).argsort(1)
