"""A folder of images with a subfolder for each class."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from pwact.data.decode import BROKEN, FORMATS, checked_size, pixels_of
from pwact.data.stored import StoredDataset
from pwact.errors import PwactError

SUFFIXES = (".png", ".jpg", ".jpeg")
#: Channels by Pillow's mode. Alpha, CMYK and 16 bits are left to the user: no conversion is right for all.
CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}
ORIENTATION = 0x0112


def folder(
    path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    name: str | None = None,
) -> StoredDataset:
    """A dataset of the PNG and JPEG files in the subfolders of a folder, one subfolder a class.

    Classes are numbered by their names in sorted order, and images by class and file name. Only headers are
    read here; a file is decoded each time it is asked for and never kept. `fingerprint` is of the files'
    bytes, names and the options: the first look at it reads every file once, at the speed of the disk.

    An image of another size than `image_size` is scaled, keeping its aspect, until it just covers
    `image_size` (Pillow's bilinear filter, which averages where it shrinks), and its middle is kept. EXIF
    orientation is applied first, as viewers do.

    Args:
        path: the folder. Hidden files are passed over.
        image_size: rows and columns, or both in one number; not needed where all files have one size.
        channels: 1 or 3 converts all files (grey is Pillow's luma, 0.299 R + 0.587 G + 0.114 B); not needed
            where all files have the same.
        name: the folder's name if not given.

    Returns:
        uint8 images, read from disk by index; `class_names` are the subfolders.

    Raises:
        PwactError: no such folder; no classes; a class without images; files outside the classes or deeper
            than them; mixed sizes or channels that were not settled by an option; an unreadable image (named)
            or one that changed after it was listed.

    Example:
        >>> import pathlib, tempfile, numpy as np
        >>> from PIL import Image
        >>> from pwact.data import folder
        >>> home = pathlib.Path(tempfile.mkdtemp()) / "pets"
        >>> for kind, size in (("cat", (20, 10)), ("dog", (8, 8))):
        ...     (home / kind).mkdir(parents=True)
        ...     Image.new("RGB", size).save(home / kind / "0.png")
        >>> folder(home, image_size=8), folder(home, image_size=8).class_names
        (pets: 2 images 8x8x3 uint8, 2 classes, ('cat', 'dog'))
    """
    home = Path(path)
    size = checked_size(image_size)
    if channels not in (None, 1, 3):
        raise PwactError("channels=1 or channels=3", f"{channels!r}", "choose grey or colour")
    classes = _classes(home)
    names = tuple(kind.name for kind in classes)
    files, labels = [], []
    for label, kind in enumerate(classes):
        found = _images(kind)
        files += found
        labels += [label] * len(found)
    headers = [_header(file) for file in files]
    if channels is None:
        channels = _agreed(
            files,
            [header.channels for header in headers],
            "one number of channels",
            "convert them, or give channels=1 or channels=3",
        )
    if size is None:
        size = _agreed(
            files,
            [(header.row, header.column) for header in headers],
            "images of one size (rows, columns)",
            "give image_size=32, which scales and crops all of them to 32x32",
        )
    store = _Files(home, tuple(files), tuple(headers), np.array(labels, np.int32), names, size, channels)
    return StoredDataset(store, (*size, channels), len(names), name or home.resolve().name, names)


@dataclasses.dataclass(frozen=True)
class _Header:
    row: int
    column: int
    channels: int
    stamp: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Files:
    home: Path
    files: tuple[Path, ...]
    headers: tuple[_Header, ...]
    label: Int[np.ndarray, " image"]
    names: tuple[str, ...]
    size: tuple[int, int]
    channels: int

    @property
    def pixels(self) -> np.dtype:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    def labels(self) -> Int[np.ndarray, " image"]:
        return self.label

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.size} {self.channels} {self.names}".encode())
        for file, header in zip(self.files, self.headers, strict=True):
            digest.update(f"\n{file.relative_to(self.home).as_posix()} {header.stamp[0]}\n".encode())
            with _opened(file, header) as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def read(self, at: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch row column channel"]:
        images = np.empty((len(at), *self.size, self.channels), np.uint8)
        for image, index in zip(images, at, strict=True):
            image[...] = self._decode(self.files[index], self.headers[index])
        return images

    def _decode(self, file: Path, header: _Header) -> np.ndarray:
        from PIL import Image, ImageOps

        with _opened(file, header) as stream:
            try:
                with Image.open(stream, formats=FORMATS) as picture:
                    return pixels_of(ImageOps.exif_transpose(picture), self.size, self.channels)
            except (*BROKEN, Image.DecompressionBombError) as error:
                raise _unreadable(file, error) from error


def _classes(home: Path) -> list[Path]:
    if not home.is_dir():
        raise PwactError("a folder of class folders", f"no folder {str(home)!r}", "check the path")
    entries = _entries(home)
    classes = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and not entry.is_dir()]
    if not classes or loose:
        found = f"{len(loose)} images in it that are in none" if loose else "no subfolder"
        raise PwactError(
            f"a subfolder for each class in {str(home)!r}", found, "move each image into its class's folder"
        )
    return classes


def _images(kind: Path) -> list[Path]:
    entries = _entries(kind)
    for entry in entries:
        if entry.is_dir():
            raise PwactError(
                f"images only in the class folder {str(kind)!r}",
                f"a folder {entry.name!r} in it",
                f"give the path of the folder that holds the classes: {str(kind)!r}?",
            )
        if entry.suffix.lower() not in SUFFIXES:
            raise PwactError(
                f"files that end in {', '.join(SUFFIXES)} in the class folder {str(kind)!r}",
                f"{entry.name!r}",
                "convert it or move it away",
            )
    if not entries:
        raise PwactError(
            "an image in every class folder", f"none in {str(kind)!r}", "fill this folder or remove it"
        )
    return entries


def _entries(home: Path) -> list[Path]:
    found = [entry for entry in home.iterdir() if not entry.name.startswith(".")]
    return sorted((entry for entry in found if entry.name != "Thumbs.db"), key=lambda entry: entry.name)


def _header(file: Path) -> _Header:
    from PIL import Image

    try:
        with file.open("rb") as stream:
            stamp = _stamp(stream)
            with Image.open(stream, formats=FORMATS) as image:
                mode, (column, row) = image.mode, image.size
                clear = "transparency" in image.info
                turned = image.getexif().get(ORIENTATION, 1) >= 5
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error
    if mode not in CHANNELS or clear:
        raise PwactError(
            "8-bit grey or RGB images without transparency",
            f"{str(file)!r} of Pillow's mode {mode}{' with transparency' * clear}",
            "convert it: PIL.Image.open(file).convert('RGB').save(file)",
        )
    return _Header(*((column, row) if turned else (row, column)), CHANNELS[mode], stamp)


def _stamp(stream: Any) -> tuple[int, int]:
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns


def _opened(file: Path, header: _Header) -> Any:
    """The file, if it is still the one that was listed: a fingerprint must be of what is read."""
    try:
        stream = file.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from error
    if _stamp(stream) != header.stamp:
        stream.close()
        raise PwactError(
            "files that stay as they were listed", f"{str(file)!r}, changed since", "load the folder again"
        )
    return stream


def _agreed(files: list[Path], values: list[Any], expected: str, do: str) -> Any:
    for file, value in zip(files, values, strict=True):
        if value != values[0]:
            raise PwactError(expected, f"{values[0]} in {str(files[0])!r} and {value} in {str(file)!r}", do)
    return values[0]


def _unreadable(file: Path, error: Exception) -> PwactError:
    return PwactError(
        "a readable PNG or JPEG file", f"{str(file)!r}, broken ({error})", "replace or remove this file"
    )
