"""A dataset from an .npz file."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pwact.data.arrays import arrays
from pwact.data.dataset import ArrayDataset
from pwact.errors import PwactError


def npz(path: str | os.PathLike[str]) -> ArrayDataset:
    """A dataset from a NumPy archive with the arrays `images` and `labels`.

    Args:
        path: an .npz file that holds `images` [image, row, column, channel], `labels` [image] and, if
            a class may hold no image, `num_classes` (one integer). Other arrays are left alone.

    Returns:
        The dataset, named after the file.

    Raises:
        PwactError: no such file; unreadable or truncated; an array is missing or holds Python objects
            (they would need pickle, which can run code); larger than memory; or the arrays are no dataset
            (`arrays`).

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from pwact.data import npz
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "blank.npz"
        >>> np.savez(path, images=np.zeros((4, 8, 8, 3), np.uint8), labels=np.array([0, 1, 0, 1]))
        >>> npz(path).image_shape
        (8, 8, 3)
    """
    path = Path(path)
    if not path.is_file():
        raise PwactError("an .npz file", f"no file {str(path)!r}", "check the path")
    found: dict[str, np.ndarray] = {}
    try:
        if not zipfile.is_zipfile(path):
            raise _unreadable(path, "it is no archive, or was cut short")
        with np.load(path, allow_pickle=False) as archive:
            for name in ("images", "labels", "num_classes"):
                if name in archive.files:
                    found[name] = archive[name]
                elif name != "num_classes":
                    raise PwactError(
                        f"an array named {name!r} in {str(path)!r}",
                        ", ".join(archive.files) or "nothing",
                        "write it with np.savez(path, images=..., labels=...)",
                    )
    except MemoryError as error:
        raise PwactError(
            "an archive that fits into memory",
            f"{str(path)!r} ({error})",
            "keep images.npy and labels.npy in a folder and load npy:FOLDER",
        ) from error
    except ValueError as error:
        if "Object arrays" in str(error):
            raise PwactError(
                "plain numeric arrays",
                f"Python objects in {str(path)!r}, which only pickle reads and pickle can run code",
                "save arrays with a numeric dtype: images.astype(np.uint8)",
            ) from error
        raise _unreadable(path, str(error)) from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _unreadable(path, str(error)) from error
    count = found.get("num_classes")
    if count is not None and not (count.shape == () and np.issubdtype(count.dtype, np.integer)):
        raise PwactError(
            "num_classes as one integer", f"{count.dtype}{list(count.shape)}", "save np.array(10)"
        )
    return arrays(
        found["images"],
        found["labels"],
        num_classes=None if count is None else int(count),
        name=path.stem,
    )


def _unreadable(path: Path, why: str) -> PwactError:
    return PwactError("a readable .npz file", f"{str(path)!r}, broken ({why})", "write or download it again")
