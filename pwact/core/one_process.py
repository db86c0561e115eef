"""A folder that one process at a time works in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pwact.errors import PwactError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def one_process(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it does.

    Args:
        folder: what is held.
        wait: until another process lets go of it.

    Raises:
        PwactError: another process holds it, and `wait` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, one_process(Path(folder)):
        ...     pass
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise PwactError(
                f"{str(folder)!r} to be used by one process at a time",
                "another that is using it",
                "wait until it is done, or choose another folder",
            ) from error
        yield
    finally:
        os.close(handle)
