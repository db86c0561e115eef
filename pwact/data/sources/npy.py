"""A folder with images.npy and labels.npy, mapped into memory and never read as a whole."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from jaxtyping import Int, Num

from pwact.data.arrays import check_images, check_labels
from pwact.data.dataset import content_hash, to_pixels
from pwact.data.stored import StoredDataset
from pwact.errors import PwactError


def npy(
    path: str | os.PathLike[str], *, num_classes: int | None = None, name: str | None = None
) -> StoredDataset:
    """A dataset of any size from two arrays that `np.save` wrote.

    `images.npy` is mapped: a read touches the pages of the images that are asked for and no others, so the
    file may be larger than memory. `labels.npy` is read. `fingerprint` is that of `arrays` with the same
    content; the first look at it reads the whole file once, in blocks of 16 MiB.

    Args:
        path: a folder that holds `images.npy` [image, row, column, channel], uint8 or floating point (read as
            float32), and `labels.npy` [image], integers in 0 .. num_classes - 1.
        num_classes: largest label + 1 if not given, and then the first class must hold an image.
        name: the folder's name if not given.

    Returns:
        The dataset. The files must stay as they are while it is in use.

    Raises:
        PwactError: a file is missing, cut short, or holds Python objects (they would need pickle, which can
            run code); or the arrays are no dataset (`arrays`).
        NonFiniteError: on reading, a pixel is NaN or infinite.

    Example:
        >>> import pathlib, tempfile, numpy as np
        >>> from pwact.data import npy
        >>> home = pathlib.Path(tempfile.mkdtemp())
        >>> images = np.lib.format.open_memmap(home / "images.npy", "w+", np.uint8, (4, 8, 8, 3))
        >>> images[2] = 7
        >>> np.save(home / "labels.npy", np.array([0, 1, 0, 1]))
        >>> npy(home).read([2]).image.max()
        np.uint8(7)
    """
    home = Path(path)
    if not home.is_dir():
        raise PwactError(
            "a folder with images.npy and labels.npy", f"no folder {str(home)!r}", "check the path"
        )
    images = check_images(_mapped(home / "images.npy"))
    labels, classes = check_labels(np.array(_mapped(home / "labels.npy")), len(images), num_classes)
    row, column, channel = images.shape[1:]
    return StoredDataset(
        _Mapped(images, labels, classes), (row, column, channel), classes, name or home.resolve().name
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Mapped:
    images: np.ndarray
    label: Int[np.ndarray, " image"]
    num_classes: int

    @property
    def pixels(self) -> np.dtype:
        return np.dtype(np.uint8 if self.images.dtype == np.uint8 else np.float32)

    def __len__(self) -> int:
        return len(self.images)

    def labels(self) -> Int[np.ndarray, " image"]:
        return self.label

    def fingerprint(self) -> str:
        return content_hash(self.images, self.label, self.num_classes)

    def read(self, at: Int[np.ndarray, " batch"]) -> Num[np.ndarray, "batch row column channel"]:
        return to_pixels(self.images[at])


def _mapped(file: Path) -> np.ndarray:
    if not file.is_file():
        raise PwactError(
            "images.npy and labels.npy", f"no file {str(file)!r}", "write it with np.save(path, array)"
        )
    try:
        with file.open("rb") as stream:
            magic = stream.read(6)
        if magic != b"\x93NUMPY":
            raise ValueError("it does not begin as an .npy file does")
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        if "Python objects" in str(error):
            raise PwactError(
                "plain numeric arrays",
                f"Python objects in {str(file)!r}, which only pickle reads and pickle can run code",
                "save an array with a numeric dtype: images.astype(np.uint8)",
            ) from error
        raise PwactError(
            "a readable .npy file", f"{str(file)!r}, broken ({error})", "write or download it again"
        ) from error
