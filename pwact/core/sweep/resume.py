"""Going on where a sweep stopped: what is kept of it, when, and whether a file is of this very sweep."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from typing import Any

import jax
import numpy as np

from pwact.core import provenance
from pwact.core.accumulator import Named, Result
from pwact.core.backend import Setting, compiler_options
from pwact.core.caching import described
from pwact.core.sweep.state_file import ANEW, Content, StateFile
from pwact.core.sweep.task import Part, Task
from pwact.core.sweep.trial import Settled
from pwact.errors import PwactError

SHARE = 0.02
"""Of the time, that saving may take: where one save takes long, the next one waits longer."""

TELLING = {"sites", "statistics", "preprocess", "logits", "gradient_of"}
"""What says in words where two computations differ. Whether they do, names and the programs' text decide."""

HASHED = {"names", "computation"}
"""What a reader is not shown where something else differs too."""

NOTED = ("settled", "groups", "number", "images", "order", "seconds", "waited", "resumed")
"""The parts of a place that are no arrays."""


@dataclasses.dataclass
class Place:
    """How far a sweep has come, and all that it needs to go on.

    Args:
        settled: the setting of its programs.
        groups: the parts of the task that are swept together.
        index: dataset indices of the images counted in the present reading, in the order they went by.
        carry: states and count after these, by path in their tree.
        found: results of the statistics that are complete, by node.
        number: readings of the dataset that are complete.
        images: counted in the present reading.
        order: sha256 of the dataset indices of a complete reading.
        seconds: that all of this took.
        waited: seconds of these in which nothing but the reading of images went on.
        resumed: images done, all readings counted, wherever it was gone on from.
    """

    settled: Settled
    groups: list[list[Part]]
    index: np.ndarray
    carry: dict[str, Any]
    found: dict[str, Result]
    number: int = 0
    images: int = 0
    order: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    resumed: list[int] = dataclasses.field(default_factory=list)

    @classmethod
    def beginning(cls, settled: Settled, groups: list[list[Part]]) -> Place:
        """Before the first image."""
        return cls(settled, groups, np.zeros(0, np.int32), {}, {})


class Saver:
    """Keeps a sweep's place in a file from time to time.

    Args:
        file: where.
        every: seconds between two saves; more where one save would take more than `SHARE` of them.

    Attributes:
        images: that the file tells of, all readings counted.
        number: readings that it tells of as complete.
        decided: setting and groups of the sweep that it tells of; None where it tells of none.

    Raises:
        PwactError: a file that is not a sweep's state, or of which nothing is whole.
    """

    def __init__(self, file: StateFile, every: float):
        self._file, self._every = file, every
        self._content = file.load()
        note = {} if self._content is None else self._content.note
        self.images: int = note.get("done", 0)
        self.number: int = note.get("number", 0)
        self.decided = {name: note[name] for name in ("settled", "groups")} if note else None
        self._identity: dict[str, str] = {}
        self._next = time.monotonic() + every

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._next

    @property
    def told(self) -> str:
        """What a reader can do with what is kept."""
        if not self.images:
            return "No image was kept: make the same call again to begin anew."
        return (
            f"{self.images:,} images are kept in {self._file.path}: make the same call again to go on there."
        )

    def check(self, identity: dict[str, str]) -> None:
        """Refuse a file of another sweep; what is saved from now on is of this one.

        Args:
            identity: what has to be the same, by name.

        Raises:
            PwactError: names what differs.
        """
        self._identity = identity
        kept = identity if self._content is None else self._content.note["identity"]
        if differs := difference(kept, identity):
            raise PwactError(
                f"{self._file.path} to be the state of this very sweep",
                differs,
                f"undo the change, or {ANEW}",
            )

    def kept(self) -> Place | None:
        """The place that the file tells of; its arrays are let go of here."""
        found, self._content = self._content, None
        if found is None:
            return None
        place = place_of(found)
        return dataclasses.replace(place, resumed=[*place.resumed, self.images])

    def save(self, place: Place, done: int) -> None:
        """Keep this place.

        Args:
            place: where the sweep is.
            done: images so far, all readings counted.

        Raises:
            PwactError: it cannot be written; what was kept before still is.
        """
        started = time.monotonic()
        self._file.save(content(place, {"done": done, "identity": self._identity}))
        ended = time.monotonic()
        self.images, self._next = done, ended + max(self._every, (ended - started) / SHARE)


def identity(task: Task, variables: Any, dataset: Any, batch_size: int, micro_batch: Any) -> dict[str, str]:
    """What has to be the same for two sweeps to be one, by name; what they compute aside.

    Args:
        task: what is computed.
        variables: with what.
        dataset: over what.
        batch_size: images of a load.
        micro_batch: as it was asked for, which may be to find one.
    """
    machine = provenance.machine()
    return {
        **{name: machine[name] for name in ("versions", "backend", "device")},
        "compiler_options": json.dumps(compiler_options()),
        "dataset": f"{dataset.name} {dataset.fingerprint}",
        "images": f"{len(dataset)} {dataset.index_hash}",
        "labels": provenance.index_hash(dataset.labels),
        "variables": provenance.variables_hash(variables),
        "devices": str(len(task.devices)),
        "batch_size": str(batch_size),
        "micro_batch": str(micro_batch),
        "names": json.dumps([[node.name, [name for name, _ in node.statistics]] for node in task.nodes]),
        "sites": json.dumps(task.sites),
        "statistics": _told({name: acc for node in task.nodes for name, acc in node.statistics}),
        "preprocess": _told(task.preprocess),
        "logits": _told(task.logits),
        "gradient_of": _told(task.gradient_of),
    }


def difference(was: dict[str, str], now: dict[str, str]) -> str:
    """What makes another sweep of one with the identity `was`; empty if nothing does."""
    differs = [name for name in now if was.get(name) != now[name]]
    if set(differs) <= TELLING:
        return ""
    named = [_compared(name, was, now) for name in differs if name not in HASHED]
    return f"another {', another '.join(named or ['computation: the model, or a function, is another'])}"


def by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path in it."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def restored(kept: dict[str, Any], like: Any) -> Any:
    """A tree as `like`, on its devices, with the leaves that were kept."""

    def leaf(path: Any, old: jax.Array) -> jax.Array:
        return jax.device_put(kept[jax.tree_util.keystr(path)], old.sharding)

    return jax.tree_util.tree_map_with_path(leaf, like)


def content(place: Place, note: dict[str, Any]) -> Content:
    """A place as what a file can hold, with a note beside it."""
    found = [(node, name, value) for node, result in place.found.items() for name, value in result.items()]
    arrays = {f"carry{path}": np.asarray(leaf) for path, leaf in place.carry.items()}
    arrays |= {f"found {number}": np.asarray(value.values) for number, (*_, value) in enumerate(found)}
    note = note | {name: getattr(place, name) for name in NOTED}
    note["found"] = [[node, name, list(value.dims), value.unit] for node, name, value in found]
    return Content(note, {"index": place.index, **arrays})


def place_of(content: Content) -> Place:
    """The place that `content` made this of."""
    note, arrays = content
    found: dict[str, Result] = {}
    for number, (node, name, dims, unit) in enumerate(note["found"]):
        found.setdefault(node, {})[name] = Named(arrays[f"found {number}"].copy(), tuple(dims), unit)
    carry = {name.removeprefix("carry"): arrays[name] for name in arrays if name.startswith("carry")}
    noted = {name: note[name] for name in NOTED} | decided(note)
    return Place(index=arrays["index"].copy(), carry=carry, found=found, **noted)


def decided(note: dict[str, Any]) -> dict[str, Any]:
    """Setting and groups, as a note tells of them."""
    (micro_batch, options), how = note["settled"]
    return {
        "settled": Settled(Setting(micro_batch, tuple(map(tuple, options))), how),
        "groups": [[tuple(part) for part in group] for group in note["groups"]],
    }


def _told(value: Any) -> str:
    """In words that are the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", described(value))


def _compared(name: str, kept: dict[str, str], now: dict[str, str]) -> str:
    """What was and what is, with hashes cut to what tells them apart."""
    was, new = (
        re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", one.get(name, "none")) for one in (kept, now)
    )
    return f"{name} ({was}, now {new})"
