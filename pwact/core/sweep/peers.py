"""The processes that compute one thing together: what they tell each other, and whether one is lost."""

from __future__ import annotations

import atexit
import contextlib
import io
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
from jax._src import distributed

from pwact.core.sweep import state_file
from pwact.core.sweep.state_file import Content
from pwact.errors import PwactError

BEAT_SECONDS, LOST_SECONDS = 1.0, 20.0
"""Between two signs of life; without one for how long a process is taken to be lost."""

CHUNK_BYTES = 4 << 20
"""Of a message, that are sent at once."""

WAIT_MILLISECONDS = 500
"""For what another process sends, before this one looks whether the other is still there."""

_meetings = itertools.count()


class Stopped(PwactError):
    """Another process cannot go on, and so neither can this one."""


class Peers:
    """All processes of `jax.distributed`, from where each enters `with Peers()` to where it leaves it.

    What they tell each other goes through JAX's coordination service, where waiting has an end; a
    collective on the devices would wait for ever for a process that is lost. Every process makes the same
    calls in the same order. One process alone has nobody to tell. A process is missed from its first sign of
    life on: for one that died before it entered, JAX's own heartbeat ends the others, in JAX's own words.

    Attributes:
        process: the number of this one, from 0.
        processes: how many there are.

    Raises:
        Stopped: on any call, if another process raised an error or gave no sign of life for `LOST_SECONDS`.

    Example:
        >>> with Peers() as peers:
        ...     peers.process, peers.processes, peers.gathered(Content({"images": 3}, {}))[0].note
        (0, 1, {'images': 3})

    Source: ours.
    """

    def __init__(self) -> None:
        self.process, self.processes = jax.process_index(), jax.process_count()
        self._client: Any = _client() if self.processes > 1 else None
        self._place = f"pwact/{next(_meetings)}"
        self._round = 0
        self._sent: list[list[str]] = [[]]
        self._error: Stopped | None = None
        self._lost: int | None = None
        self._left = threading.Event()
        self._watch = threading.Thread(target=self._look_after, name="pwact-peers", daemon=True)

    def __enter__(self) -> Peers:
        if self._client is not None:
            self._note("beat", "0")
            self._watch.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._client is None:
            return
        if not isinstance(error, Stopped):
            self._tell(error)
        self._left.set()
        self._watch.join()

    def check(self) -> None:
        """Raise `Stopped` if another process cannot go on."""
        if self._error is not None:
            if self._lost is not None:
                atexit.unregister(_leave)
                atexit.register(_leave, self._client, self._place, self.process, self.processes)
            raise self._error

    def gathered(self, own: Content) -> list[Content]:
        """What each process has to tell, in their order; all wait for all."""
        if self._client is None:
            return [own]
        self._begin_round()
        self._send(str(self.process), own)
        everyone = range(self.processes)
        found = [own if other == self.process else self._receive(str(other)) for other in everyone]
        self._end_round()
        return found

    def reduced(self, own: Content, merge: Callable[[Content, Content], Content]) -> Content:
        """All contents merged pair by pair in the order of the processes: the same bits in all."""
        if self._client is None:
            return own
        self._begin_round()
        step = 1
        while step < self.processes and self.process % (2 * step) == 0:
            if self.process + step < self.processes:
                own = merge(own, self._receive(str(self.process + step)))
            step *= 2
        if self.process == 0:
            self._send("all", own)
        else:
            self._send(str(self.process), own)
            own = self._receive("all")
        self._end_round()
        return own

    def _begin_round(self) -> None:
        self.check()
        self._round += 1
        self._sent.append([])

    def _end_round(self) -> None:
        """All have begun this round, so what was sent in the one before has been received."""
        for key in self._sent.pop(0):
            _asked(self._client.key_value_delete, f"{key}/")

    def _send(self, name: str, content: Content) -> None:
        buffer = io.BytesIO()
        state_file.write(buffer, content)
        data = buffer.getbuffer()
        key = f"{self._place}/{self._round}/{name}"
        starts = range(0, len(data), CHUNK_BYTES)
        self._sent[-1].append(key)
        _asked(self._client.key_value_set, f"{key}/chunks", str(len(starts)))
        for number, start in enumerate(starts):
            self.check()
            chunk = bytes(data[start : start + CHUNK_BYTES])
            _asked(self._client.key_value_set_bytes, f"{key}/{number}", chunk)

    def _receive(self, name: str) -> Content:
        key = f"{self._place}/{self._round}/{name}"
        chunks = int(self._wait_for(f"{key}/chunks"))
        data = b"".join(self._wait_for(f"{key}/{number}") for number in range(chunks))
        return state_file.read(data, f"what process {name} sent")

    def _wait_for(self, key: str) -> bytes:
        while True:
            self.check()
            with contextlib.suppress(TimeoutError):
                return _asked(self._client.blocking_key_value_get_bytes, key, WAIT_MILLISECONDS)

    def _look_after(self) -> None:
        """A thread: gives signs of life, and sees those of the others."""
        seen: dict[int, tuple[str, float]] = {}
        for number in itertools.count(1):
            if self._left.wait(BEAT_SECONDS) or self._error is not None:
                return
            beats, told = {}, {}
            # No answer is no sign of life either.
            with contextlib.suppress(Stopped, TimeoutError):
                self._note("beat", str(number))
                told, beats = self._noted("told"), self._noted("beat")
            now = time.monotonic()
            for other in set(range(self.processes)) - {self.process}:
                if other in told:
                    self._heed(other, *json.loads(told[other]))
                elif other in beats and beats[other] != seen.get(other, ("", 0.0))[0]:
                    seen[other] = beats[other], now
                elif other in seen and now - seen[other][1] > LOST_SECONDS:
                    self._heed(other, _no_sign(other), other)
                    self._tell(self._error, self._lost)

    def _heed(self, other: int, words: list[str] | None, lost: int | None) -> None:
        """What a process told of its end: nothing to say where it was done."""
        if words is None or self._error is not None:
            return
        expected, found, do = words
        self._lost = lost
        self._error = Stopped(expected, found if lost is not None else f"{found} (in process {other})", do)

    def _tell(self, error: BaseException | None, lost: int | None = None) -> None:
        """Why this process will not be there any more."""
        words = None
        if isinstance(error, PwactError):
            words = [error.expected, error.found, error.do]
        elif error is not None:
            words = ["all processes to go on", f"{type(error).__name__}: {error}", "see its own message"]
        with contextlib.suppress(Stopped, TimeoutError):
            self._note("told", json.dumps([words, lost]))

    def _note(self, what: str, value: str) -> None:
        _asked(
            self._client.key_value_set, f"{self._place}/{what}/{self.process}", value, allow_overwrite=True
        )

    def _noted(self, what: str) -> dict[int, str]:
        found = _asked(self._client.key_value_dir_get, f"{self._place}/{what}/")
        return {int(key.rpartition("/")[2]): value for key, value in found}


def _asked(ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The answer of JAX's coordination service."""
    try:
        return ask(*arguments, **options)
    except jax.errors.JaxRuntimeError as error:
        if str(error).startswith("DEADLINE_EXCEEDED"):
            raise TimeoutError from None
        raise Stopped(
            "the coordination service of jax.distributed, in process 0, to answer",
            str(error).partition("\n")[0],
            "see whether process 0 is still there, then start all processes again",
        ) from error


def _client() -> Any:
    # JAX has no public way to wait for a limited time; Orbax uses the same client.
    client = distributed.global_state.client
    if client is None:
        raise PwactError(
            "processes that were introduced to each other",
            f"{jax.process_count()} that were not",
            "call jax.distributed.initialize() at the beginning of each",
        )
    return client


def _no_sign(other: int) -> list[str]:
    return [
        "all processes to go on",
        f"no sign of life from process {other} for {LOST_SECONDS:g} seconds",
        "see what ended it, then start all processes again: where they keep states, they go on from there",
    ]


def _leave(client: Any, place: str, process: int, processes: int) -> None:
    """End this process, another being lost: JAX would first wait for that one, and then abort.

    Process 0, where the coordination service lives, goes last, or it would take the others down with it.
    """
    with contextlib.suppress(Stopped, TimeoutError):
        _asked(client.key_value_set, f"{place}/gone/{process}", "")
        until = time.monotonic() + LOST_SECONDS
        while process == 0 and time.monotonic() < until:
            if len(_asked(client.key_value_dir_get, f"{place}/gone/")) >= processes - 1:
                break
            time.sleep(0.1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
