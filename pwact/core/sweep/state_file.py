"""A file of named arrays and a note about them: whole or not there, and the one before it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pwact.errors import PwactError

try:
    import fcntl
except ImportError:  # not POSIX: nothing keeps two processes apart there
    fcntl = None  # type: ignore[assignment]

MAGIC = b"pwact state 1\n"
ANEW = "remove the state file to begin anew"


class Content(NamedTuple):
    """What a state file holds.

    Args:
        note: whatever JSON can hold, by name.
        arrays: by name.
    """

    note: dict[str, Any]
    arrays: dict[str, np.ndarray]


class StateFile:
    """A file that is only ever replaced as a whole, used by one process at a time.

    The bytes are a mark, the length of a JSON header, the header, the arrays, and the sha256 of all
    that. Beside `path` stand `path.previous`, the one before; `path.writing` while one is written; and
    `path.lock` while a process uses it.

    Args:
        path: where it is or will be; its folder must exist.

    Attributes:
        damage: what was wrong with the newest file, where an older one was read instead; else empty.

    Raises:
        PwactError: on `with`, where the folder cannot be written or another process uses the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, StateFile(Path(folder) / "s") as file:
        ...     file.save(Content({"images": 3}, {"sum": np.float32([1, 2])}))
        ...     found = file.load()
        >>> found.note, found.arrays["sum"].tolist()
        ({'images': 3}, [1.0, 2.0])

    Source: ours.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path, self.damage = Path(path), ""
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> StateFile:
        if self.path.is_dir():
            raise PwactError("a path of a state file", f"the folder {self.path}", "name a file in it")
        try:
            self._lock = self._locked()
        except BlockingIOError:
            raise PwactError(
                f"{self.path} to be used by one process at a time",
                "another that is using it",
                "wait until it is done or stop it, or choose another state file",
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._unlink(self._beside("lock"))
        if self._lock is not None:
            self._lock.close()

    def _locked(self) -> IO[bytes]:
        """The lock file, held. One that its last holder removed before it was held here does not count."""
        path = self._beside("lock")
        while True:
            lock = open(path, "wb")
            if fcntl is None:
                return lock
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    return lock
            except BaseException:
                lock.close()
                raise
            lock.close()

    def save(self, content: Content) -> None:
        """Replace the file, and keep the one it replaces.

        Raises:
            PwactError: it cannot be written; the file and the one before it are as they were.
        """
        writing = self._beside("writing")
        try:
            with open(writing, "wb") as file:
                write(file, content)
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                os.replace(self.path, self._beside("previous"))
            os.replace(writing, self.path)
            self._settle()
        except OSError as error:
            self._unlink(writing)
            raise self._unwritable(error) from error
        except BaseException:
            self._unlink(writing)
            raise

    def load(self) -> Content | None:
        """The newest content that is whole; None where nothing was saved.

        Raises:
            PwactError: a file that pwact did not write, or files of which none is whole.
        """
        wrong = []
        for path in (self.path, self._beside("previous")):
            try:
                content = read(path.read_bytes(), str(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                wrong.append(f"{path}: {error.strerror or error}")
            except ValueError as error:
                wrong.append(f"{path}: {error}")
            else:
                self.damage = "; ".join(wrong)
                return content
        if wrong:
            raise PwactError("a state file that is whole", "; ".join(wrong), ANEW)
        return None

    def remove(self) -> None:
        """Nothing is kept any more."""
        self._unlink(self.path, self._beside("previous"), self._beside("writing"))

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{what}")

    def _unlink(self, *paths: Path) -> None:
        """What cannot be removed stays, and does no harm: a state is looked at before it is used."""
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def _settle(self) -> None:
        """The new names too, on the disk; where folders cannot be synced the system does it in time."""
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _unwritable(self, error: OSError) -> PwactError:
        return PwactError(
            f"to write the state file {self.path}",
            error.strerror or str(error),
            "make room there, or choose a folder that exists and is yours",
        )


def write(file: IO[bytes], content: Content) -> None:
    """The bytes of a content."""
    arrays = {name: np.asarray(array, order="C") for name, array in content.arrays.items()}
    specs = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    header = json.dumps({"note": content.note, "arrays": specs}, allow_nan=False).encode()
    digest = hashlib.sha256()
    flat = (array.reshape(-1).view(np.uint8) for array in arrays.values())
    part: Any
    for part in (MAGIC, len(header).to_bytes(8, "little"), header, *flat):
        digest.update(part)
        file.write(part)
    file.write(digest.digest())


def read(data: bytes, path: str) -> Content:
    """The content of these bytes, from `path`; ValueError says that they are damaged."""
    if not data.startswith(MAGIC[: len(data)]):
        raise PwactError("a state file of this pwact", f"{path}, which is not one", "choose another path")
    size = hashlib.sha256().digest_size
    if len(data) < size or hashlib.sha256(memoryview(data)[:-size]).digest() != data[-size:]:
        raise ValueError("cut short or damaged")
    at = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : at], "little")
    header = json.loads(data[at : at + length])
    at, arrays = at + length, {}
    for name, (dtype, shape) in header["arrays"].items():
        kind = jnp.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(data, kind, count, at).reshape(shape)
        at += count * kind.itemsize
    return Content(header["note"], arrays)
