"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from pwact.errors import PwactError

BLOCK = 1 << 20


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A hidden folder beside `path` to write into, which becomes `path` when the block ends well.

    Args:
        path: the folder to make; its parents are made as needed.
        overwrite: whether a folder of that name may be replaced; it stays as it is until then.

    Yields:
        The folder to write into.

    Raises:
        PwactError: the folder exists and may not be replaced, or cannot be written. After any error or
            interruption nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     with whole_folder(f"{home}/run") as folder:
        ...         _ = (folder / "a.txt").write_text("a")
        ...     sorted(os.listdir(home))
        ['run']
    """
    path = Path(path)
    check_free(path, overwrite=overwrite)
    mark = secrets.token_hex(4)
    partial, old = (path.with_name(f".{path.name}.{kind}-{mark}") for kind in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        check_free(path, overwrite=overwrite)
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(partial, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
    except OSError as error:
        raise PwactError(
            f"to write {path}",
            error.strerror or str(error),
            "make room there, or choose a folder that is yours; nothing was left behind",
        ) from error
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_room(folder: Path, size: int) -> None:
    """Write so many bytes into a folder and take them away again, before any work is done for it.

    Args:
        folder: an existing folder.
        size: bytes.

    Raises:
        OSError: they do not fit, or nothing can be written there.
    """
    trial = folder / "trial"
    try:
        with open(trial, "wb") as file:
            for start in range(0, size, BLOCK):
                file.write(os.urandom(min(BLOCK, size - start)))
            file.flush()
            os.fsync(file.fileno())
    finally:
        trial.unlink(missing_ok=True)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that is there already, unless it is a folder that may be replaced.

    Raises:
        PwactError: with what to do.
    """
    if path.exists() and not (overwrite and path.is_dir()):
        do = "choose another folder" if overwrite else "choose another folder or pass overwrite=True"
        raise PwactError("a folder that does not exist yet", f"{path}", do)
