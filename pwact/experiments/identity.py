"""What a kind of network depends on: settings, images, code, machine. Equal ones are trained once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pwact.core.caching import described
from pwact.core.provenance import machine
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.models.architecture import to_dict
from pwact.train.recipe import Recipe
from pwact.train.treatment import Intervention

APART = ("cli", "experiments", "report", "stats", "studies")
"""Rooms that no training depends on."""


class Arm(NamedTuple):
    """One kind of network: what it is, what it is trained on, and how. All arms have the same seeds.

    Args:
        name: in tables, unlike the others of the experiment.
        config: the architecture.
        recipe: how it is trained.
        dataset: training images.
        test: images that it is evaluated on after every epoch.
        preprocess: from stored pixels to what the network sees; standardises by `dataset` if None.
        interventions: edits that are in place in training.
        options: further arguments of `pwact.train.train`, e.g. `{"snapshots": (0, 10)}`.
    """

    name: str
    config: Any
    recipe: Recipe
    dataset: Dataset
    test: Dataset | None = None
    preprocess: Preprocess | None = None
    interventions: tuple[Intervention, ...] = ()
    options: Mapping[str, Any] = {}


def configuration(arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    """An arm in words: everything that its networks depend on but the code."""
    return {
        "architecture": json.loads(json.dumps(to_dict(arm.config))),
        "recipe": json.loads(json.dumps(arm.recipe.to_dict())),
        "data": f"{arm.dataset.name}, {len(arm.dataset)} images, {arm.dataset.fingerprint[:12]}",
        "test": "none"
        if arm.test is None
        else f"{arm.test.name}, {len(arm.test)} images, {arm.test.fingerprint[:12]}",
        "preprocess": "standardised" if arm.preprocess is None else arm.preprocess.describe(),
        "interventions": [f"{described(each.fn)} at {each.site}" for each in arm.interventions],
        "options": {name: described(value) for name, value in arm.options.items()},
        "seeds": list(seeds),
        "own code": sources(arm.config, arm.recipe, arm.interventions),
    }


def place_of(name: str, words: Mapping[str, Any]) -> str:
    """The folder that an arm is kept in: its name, and a hash of everything that its networks depend on."""
    return f"{slug(name)}-{digest(words)}"


def digest(words: Mapping[str, Any]) -> str:
    """Names an arm's folder: another configuration, other code or another machine kind is another arm."""
    here = {name: value for name, value in machine().items() if name != "created"}
    content = json.dumps([words, library_hash(), here], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def sources(*things: Any) -> list[str]:
    """Hashes of the files of code that is one's own: architectures, methods, edits.

    Of what stands in pwact's own rooms `library_hash` speaks.
    """
    found = set()
    for thing in things:
        if isinstance(thing, list | tuple):
            found |= set(sources(*thing))
        elif isinstance(thing, type | types.FunctionType):
            if _apart(thing.__module__):
                found.add(_file_hash(thing))
        elif dataclasses.is_dataclass(thing):
            found |= set(sources(type(thing), *vars(thing).values()))
        elif callable(thing):
            found |= set(sources(type(thing)))
    return sorted(found)


def _file_hash(thing: Any) -> str:
    try:
        content = Path(inspect.getfile(thing)).read_bytes()
    except (OSError, TypeError):  # typed in, not in a file
        content = described(thing).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _apart(module: str) -> bool:
    room = module.split(".")
    return room[0] != "pwact" or room[1] in APART


@functools.cache
def library_hash() -> str:
    """The sha256 of pwact's own source, but for the rooms that no training depends on.

    Returns:
        64 hexadecimal digits.
    """
    home = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        inside = path.relative_to(home)
        if inside.parts[0] not in APART:
            digest.update(f"{inside.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def slug(name: str) -> str:
    """A name as part of a file's name.

    Example:
        >>> slug("norm loss, λ = 0.1"), slug("λ")
        ('norm-loss-0-1', 'x')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "x"
