"""What the verbs share: where to write, how to show progress, how to fail."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import platform
import re
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pwact.errors import PwactError

DATASET = "mnist5k, digits, bag(size=2000), folder:PATH, npy:PATH, tfds:NAME or an .npz file."
"""What an option that names images takes (`pwact.data.load`)."""

PROGRAM_BYTES = 1 << 30
"""Of compiled programs that are kept."""

console = Console(highlight=False, soft_wrap=True)

OPTIONS = {
    "pass overwrite=True": "say --overwrite",
    "resume=True": "--resume",
    "make the same call again": "run the same command again",
    "remove the state file": "say --fresh",
    "pass gradient_of= to the sweep": "say --gradient-of label, or prediction",
}
"""What Python's users are told to do, and what is the same on the command line."""


def fail(message: str, code: int = 1) -> NoReturn:
    """One message on standard error, then leave."""
    _say(message)
    raise SystemExit(code)


def leave_at_once(message: str, code: int) -> NoReturn:
    """The same, but the process ends here: nothing is taken apart."""
    _say(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(message: str) -> None:
    for words, option in OPTIONS.items():
        message = message.replace(words, option)
    print(f"pwact: {message}", file=sys.stderr)


class CtrlC:
    """Remembers a Ctrl-C, as Python drops one that arrives in a callback of the garbage collector.

    XLA has such a callback.
    """

    def __init__(self) -> None:
        self.seen = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT within; afterwards everything is as it was."""
        self.seen = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook

        def remember(number: int, frame: Any) -> None:
            self.seen = True
            raise KeyboardInterrupt

        def tell_others(dropped: Any) -> None:
            if not issubclass(dropped.exc_type, KeyboardInterrupt):
                hook(dropped)

        signal.signal(signal.SIGINT, remember)
        sys.unraisablehook = tell_others
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.signal(signal.SIGINT, handler)

    def check(self) -> None:
        """Raise the KeyboardInterrupt again if there was one."""
        if self.seen:
            raise KeyboardInterrupt


ctrl_c = CtrlC()


class Programs:
    """What XLA has compiled, kept in the user's cache folder for the next process of the command line.

    Only where this process is the command's own: a caller of `main` keeps the settings that it has.
    """

    def __init__(self) -> None:
        self.own_process = False

    def keep(self) -> None:
        """From now on; where there is no such folder, nothing is kept."""
        from pwact.core.cache_folder import cache_folder

        folder = cache_folder("xla") if self.own_process else None
        if folder is None:
            return
        import jax

        # A torn or foreign entry is compiled anew, which needs no words.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
        with contextlib.suppress(OSError):
            _make_room(folder)
            # XLA would take the code of a processor that knows more than this one, with a warning at most.
            own = folder / _processor()
            own.mkdir(mode=0o700, exist_ok=True)
            for option, value in {
                "jax_compilation_cache_dir": str(own),
                "jax_persistent_cache_min_compile_time_secs": 0.0,
                "jax_persistent_cache_min_entry_size_bytes": -1,
            }.items():
                if option.upper() not in os.environ:
                    jax.config.update(option, value)


programs = Programs()


def _processor() -> str:
    """A name for what its processor can do, the same on machines that run each other's code."""
    words = {platform.machine()}
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "flags", "Features")):
                words.add(line)
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:16]


def _make_room(folder: pathlib.Path) -> None:
    """Remove what was made longest ago while there is more than `PROGRAM_BYTES`."""
    made = [(path.stat(), path) for path in folder.glob("*/*") if path.is_file()]
    total = sum(found.st_size for found, _ in made)
    for found, path in sorted(made, key=lambda one: one[0].st_mtime):
        if total <= PROGRAM_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= found.st_size


def new_path(stem: str, suffix: str = "") -> pathlib.Path:
    """The first of runs/STEM-1, runs/STEM-2, ... that does not exist."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", pathlib.PurePath(stem).name.removesuffix(".npz")).strip("-")
    number = 1
    while (path := pathlib.Path("runs") / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path


def refuse_existing(path: pathlib.Path, overwrite: bool) -> None:
    """Stop before any work is done if the output is already there."""
    if path.exists() and not overwrite:
        raise PwactError(
            "an output that does not exist yet", f"{path}", "choose another --out or say --overwrite"
        )


@contextlib.contextmanager
def folder_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder of a file that is to be written: made if it is not there, and unmade if it stays empty.

    Raises:
        PwactError: `path` is a folder itself, or its own cannot be written.
    """
    if path.is_dir():
        raise PwactError("a file to write", f"the folder {path}", "name a file in it")
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            do = "make room, or choose a folder that is yours"
            raise PwactError(f"to write {path}", error.strerror or str(error), do) from error
        yield path.parent
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


class Stages:
    """Progress over the named stages of a long job, with the time to go.

    On a terminal a bar; elsewhere a line at each new stage and every ten seconds.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.said = 0.0
        self.stage = ""
        self.bar = Progress(
            TextColumn("{task.description:<44}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[to_go]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=1.0, to_go="")

    def __enter__(self) -> Stages:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def __call__(self, stage: str, done: float) -> None:
        """`done` is the share of the whole job, in [0, 1]. Raises the KeyboardInterrupt that was dropped."""
        ctrl_c.check()
        elapsed = time.monotonic() - self.started
        to_go = f"{_clock(elapsed * (1 - done) / done)} to go" if done > 0.02 else ""
        self.bar.update(self.task, description=stage, completed=done, to_go=to_go)
        if not console.is_terminal and (stage != self.stage or elapsed - self.said >= 10):
            console.print(f"{_clock(elapsed):>6}  {done:4.0%}  {stage}" + (f"  ({to_go})" if to_go else ""))
            self.said = elapsed
        self.stage = stage


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
