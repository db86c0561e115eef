"""The user's own folder for what may be lost: it only saves time."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """A folder of this user alone, made if need be: `$XDG_CACHE_HOME/pwact/name`, or in `~/.cache`.

    What is in it is believed, so that nobody else may write there.

    Args:
        name: of the folder.

    Returns:
        The folder; None where it cannot be made, or where others can write to it.

    Example:
        >>> import os, tempfile
        >>> before = os.environ.get("XDG_CACHE_HOME")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.environ["XDG_CACHE_HOME"] = folder
        ...     cache_folder("settings").relative_to(folder).parts
        ('pwact', 'settings')
        >>> if before is None: del os.environ["XDG_CACHE_HOME"]
        ... else: os.environ["XDG_CACHE_HOME"] = before
    """
    told = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(told) if os.path.isabs(told) else Path.home() / ".cache"
        home.mkdir(parents=True, exist_ok=True)
        folder = home
        for part in ("pwact", name):
            folder = folder / part
            folder.mkdir(mode=0o700, exist_ok=True)
            if not _own(folder):
                return None
    except (OSError, RuntimeError):
        return None
    return folder


def _own(folder: Path) -> bool:
    """Whether it is a folder, no link, of this user, that nobody else may write to."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
