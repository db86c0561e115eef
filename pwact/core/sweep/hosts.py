"""One sweep over several processes: each reads some of the loads, and all of them hold the whole result."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pwact.core.sweep import program, resume
from pwact.core.sweep.audit import Audit
from pwact.core.sweep.peers import Peers
from pwact.core.sweep.resume import Place
from pwact.core.sweep.state_file import ANEW, Content
from pwact.core.sweep.task import Task
from pwact.errors import PwactError


def share(images: int, batch_size: int, process: int, processes: int) -> range:
    """The positions that a process reads: whole loads, those of all processes one after the other.

    Example:
        >>> [share(1000, 256, process, 3) for process in range(3)]
        [range(0, 256), range(256, 512), range(512, 1000)]
    """
    loads = -(-images // batch_size)
    start, stop = (min(loads * end // processes * batch_size, images) for end in (process, process + 1))
    return range(start, stop)


def own_path(state: str | os.PathLike[str], peers: Peers) -> Path:
    """The state file of this process, beside those of the others."""
    path = Path(state)
    return path if peers.processes == 1 else path.with_name(f"{path.name}.process-{peers.process}")


def check_same(peers: Peers, identity: dict[str, str]) -> None:
    """Refuse processes that do not compute the same.

    Args:
        peers: the processes.
        identity: what has to be the same in all, by name.

    Raises:
        PwactError: in every process, with the first that differs from process 0 and what differs.
    """
    first, *others = (told.note for told in peers.gathered(Content(identity, {})))
    for process, other in enumerate(others, start=1):
        if differs := resume.difference(first, other):
            raise PwactError(
                "the same sweep in all processes",
                f"in process {process} {differs}",
                "give all of them the same",
            )


def agreed(peers: Peers, kept: dict[str, Any] | None, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the first process decided that has a state, else what process 0 decides."""
    known = [told.note for told in peers.gathered(Content({"decided": kept}, {}))]
    for note in known:
        if note["decided"] is not None:
            return note["decided"]
    own = decide() if peers.process == 0 else {}
    return peers.gathered(Content(own, {}))[0].note


def united(peers: Peers, audit: Audit, counted: int) -> tuple[Audit, int]:
    """The images that went by in all processes, and how many the devices counted."""
    everyones = peers.gathered(Content({"counted": counted}, {"index": audit.index}))
    index = np.concatenate([told.arrays["index"] for told in everyones])
    return Audit(index), sum(told.note["counted"] for told in everyones)


def merged(peers: Peers, task: Task, states: program.States) -> program.States:
    """The states of all processes merged: the same bits in all of them."""
    if peers.processes == 1:
        return states

    def merge(left: Content, right: Content) -> Content:
        both = (resume.restored(one.arrays, states) for one in (left, right))
        return _content(program.merged(task, *both))

    return resume.restored(peers.reduced(_content(states), merge).arrays, states)


def caught_up(peers: Peers, place: Place) -> Place:
    """Where this process goes on, not a whole reading behind another.

    A process that was killed while others had begun a further reading takes that beginning from them: it
    is the same in all. They had not gone on from it, since all wait there until all have saved it.

    Raises:
        PwactError: it cannot be had, one of the states being an older one.
    """
    told = [one.note for one in peers.gathered(Content({"number": place.number, "images": place.images}, {}))]
    furthest = max(note["number"] for note in told)
    behind = [process for process, note in enumerate(told) if note["number"] < furthest]
    if not behind:
        return place
    able = [process for process, note in enumerate(told) if note == {"number": furthest, "images": 0}]
    if not able:
        raise PwactError(
            "state files from one and the same reading of the dataset",
            f"that of process {behind[0]} from an earlier one than the others'",
            ANEW.replace("file", "files of all processes"),
        )
    own = resume.content(place, {}) if peers.process == able[0] else Content({}, {})
    given = peers.gathered(own)[able[0]]
    if peers.process not in behind:
        return place
    return dataclasses.replace(resume.place_of(given), resumed=place.resumed)


def wait_for_all(peers: Peers) -> None:
    """Until every process has come here."""
    peers.gathered(Content({}, {}))


def devices_of_all(peers: Peers, task: Task) -> list[str]:
    """The devices that computed, of every process."""
    own = [str(device) for device in task.devices]
    return [
        device for told in peers.gathered(Content({"devices": own}, {})) for device in told.note["devices"]
    ]


def _content(states: program.States) -> Content:
    return Content({}, {path: np.asarray(leaf) for path, leaf in resume.by_path(states).items()})
