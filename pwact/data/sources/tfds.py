"""TensorFlow Datasets, read without TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import io
import os
import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from pwact.data.arrays import check_labels
from pwact.data.decode import BROKEN, FORMATS, checked_size, pixels_of
from pwact.data.stored import StoredDataset
from pwact.errors import PwactError

BLOCK = 256
SECONDS = 10.0


def tfds(
    name: str,
    *,
    split: str = "train",
    image_size: int | tuple[int, int] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> StoredDataset:
    """A dataset of TensorFlow Datasets, prepared as ArrayRecord, with random access.

    What is prepared is read without TensorFlow. What is not is downloaded and prepared first, once; to store
    images that come as arrays, such as CIFAR-10's, that step needs the extra `pwact[tensorflow]`.

    A record is decoded each time it is asked for and never kept. The first look at `labels` reads every
    record once without decoding images, and so does the first look at `fingerprint`, which is of the records'
    bytes.

    Args:
        name: of the dataset, with a configuration or version if wanted (`cifar10`, `cifar10:3.0.2`), or the
            path of a prepared one: the folder that holds its `dataset_info.json`.
        split: in TFDS's words: `train`, `test`, `train[:10%]`.
        image_size: rows and columns, or both in one number; needed only where images have several sizes.
            They are then scaled to cover it and cut to their middle, as `folder` does.
        data_dir: where TFDS keeps datasets; its own place, or $TFDS_DATA_DIR, if not given.

    Returns:
        uint8 images, read from disk by index; `class_names` where the dataset has them.

    Raises:
        PwactError: a name that does not exist (the nearest are shown), another split, a failed download, a
            dataset that is not kept as ArrayRecord, one without 8-bit images or without labels, mixed sizes
            without `image_size`, an unreadable record (numbered).

    Example:
        >>> from pwact.data import tfds
        >>> tfds("cifr10")
        Traceback (most recent call last):
        pwact.errors.PwactError: expected a dataset of TFDS or the path of one; found 'cifr10'; nearest: ...
    """
    size = checked_size(image_size)
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        _prepare(builder, name)
    if split.split("[")[0].split("+")[0] not in builder.info.splits:
        raise PwactError(
            f"a split of {builder.name}: {', '.join(builder.info.splits)}", f"{split!r}", "pick one of these"
        )
    image, label = _keys(builder)
    features = builder.info.features
    row, column, channel = features[image].shape
    size = size or ((row, column) if row and column else None)
    channels = channel or 3
    if size is None or channels not in (1, 3) or np.dtype(features[image].np_dtype) != np.uint8:
        raise PwactError(
            "8-bit images of one size, grey or RGB",
            f"{features[image].np_dtype} of shape {features[image].shape} in {builder.name}",
            "give image_size=..." if size is None else "use another dataset",
        )
    fixed = image_size is None
    records = _source(builder, split, image)
    store = _Records(records, builder.name, image, label, size, channels, features[label].num_classes, fixed)
    names = tuple(features[label].names or ())
    return StoredDataset(store, (*size, channels), store.num_classes, f"{builder.name}/{split}", names)


@dataclasses.dataclass(frozen=True, eq=False)
class _Records:
    records: Any
    name: str
    image: str
    label: str
    size: tuple[int, int]
    channels: int
    num_classes: int
    fixed: bool

    @property
    def pixels(self) -> np.dtype:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.records)

    def labels(self) -> Int[np.ndarray, " image"]:
        found = [example[self.label] for block in self._blocks() for example in self._examples(block)]
        return check_labels(np.array(found, np.int64), len(self), self.num_classes)[0]

    def fingerprint(self) -> str:
        how = (self.size, self.channels, self.fixed, self.num_classes, len(self))
        digest = hashlib.sha256(repr(how).encode())
        for block in self._blocks():
            for record in self.records.data_source.__getitems__(block):
                digest.update(len(record).to_bytes(8, "little") + record)
        return digest.hexdigest()

    def read(self, at: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch row column channel"]:
        places = [int(index) for index in at]
        found = zip(self._examples(places), places, strict=True)
        return np.stack([self._decode(example[self.image], index) for example, index in found])

    def _blocks(self) -> list[list[int]]:
        return [list(range(start, min(start + BLOCK, len(self)))) for start in range(0, len(self), BLOCK)]

    def _examples(self, block: list[int]) -> list[Any]:
        try:
            return self.records.__getitems__(block)
        except Exception as error:  # what the reader raises of damaged data is not documented
            raise self._unreadable(f"{block[0]} .. {block[-1]}", error) from error

    def _decode(self, encoded: bytes, index: int) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
                if self.fixed and picture.size != self.size[::-1]:
                    raise ValueError(f"{picture.size[1]}x{picture.size[0]} where all should be of one size")
                return pixels_of(picture, self.size, self.channels)
        except (*BROKEN, Image.DecompressionBombError) as error:
            raise self._unreadable(str(index), error) from error

    def _unreadable(self, which: str, error: Exception) -> PwactError:
        return PwactError(
            f"readable records of {self.name}",
            f"{which}, broken ({error})",
            "copy or prepare the dataset again",
        )


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets

    path = Path(name)
    try:
        if (path / "dataset_info.json").is_file():
            return tensorflow_datasets.builder_from_directory(str(path))
        if path.is_dir():
            inside = sorted(str(found.parent) for found in path.glob("**/dataset_info.json"))
            raise PwactError(
                "the folder that holds dataset_info.json",
                f"{name!r}, where it lies in {', '.join(inside) or 'no folder'}",
                "give that folder" if inside else "prepare the dataset again",
            )
        if path.is_absolute() or name.startswith("."):
            raise PwactError("the folder of a prepared dataset", f"no folder {name!r}", "check the path")
        return tensorflow_datasets.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        names = tensorflow_datasets.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name.split("/")[0].split(":")[0], names, n=3, cutoff=0.5)
        raise PwactError(
            "a dataset of TFDS or the path of one",
            f"{name!r}",
            f"nearest: {', '.join(close)}" if close else "see tensorflow_datasets.list_builders()",
        ) from error
    except (ValueError, AssertionError, OSError) as error:
        said = " ".join(str(error).split())
        raise PwactError(
            "a dataset of TFDS or the path of one", f"{name!r} ({said})", "correct it"
        ) from error


def _prepare(builder: Any, name: str) -> None:
    code = f"import tensorflow_datasets as t; t.builder({name!r}).download_and_prepare("
    elsewhere = (
        f"run python -c \"{code}file_format='array_record')\" where there are a network and"
        f" pwact[tensorflow], copy its folder {builder.data_path} here, and load tfds:PATH"
    )
    wanted = f"to download and prepare {builder.name} in {builder.data_path}"
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()} - {None}
    if hosts and not urllib.request.getproxies() and not any(map(_answers, hosts)):
        raise PwactError(wanted, f"no way to {', '.join(sorted(hosts))}", elsewhere)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # each dataset's own program runs here, and raises what it likes
        raise PwactError(wanted, f"{type(error).__name__}: {str(error)[-300:]}", elsewhere) from error


def _answers(host: str) -> bool:
    """Asked before TFDS is, which tries ten times with growing pauses: minutes."""
    try:
        socket.create_connection((host, 443), SECONDS).close()
    except OSError:
        return False
    return True


def _keys(builder: Any) -> tuple[str, str]:
    import tensorflow_datasets

    features = builder.info.features
    image, label = builder.info.supervised_keys or ("image", "label")
    kinds = tensorflow_datasets.features
    try:
        good = isinstance(features[image], kinds.Image) and isinstance(features[label], kinds.ClassLabel)
    except (KeyError, TypeError):
        good = False
    if not good:
        found = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in sorted(features.items()))
        raise PwactError(
            f"an image and a class label in {builder.name}", found, "use a dataset for classification"
        )
    return image, label


def _source(builder: Any, split: str, image: str) -> Any:
    import tensorflow_datasets

    encoded = {image: tensorflow_datasets.decode.SkipDecoding()}
    try:
        return builder.as_data_source(split, decoders=encoded)
    except NotImplementedError as error:
        raise PwactError(
            f"{builder.name} kept as ArrayRecord, which has random access",
            f"{builder.info.file_format} in {builder.data_path}",
            "prepare it again with download_and_prepare(file_format='array_record')",
        ) from error
    except Exception as error:  # what the reader raises of damaged data is not documented
        raise PwactError(
            f"the split {split!r} of {builder.name}", f"{error}", "correct the split, or prepare it again"
        ) from error
