"""A dataset from the words that name it."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from pwact.core.registry import resolve
from pwact.data import sources
from pwact.data.corrupted import corrupted
from pwact.data.dataset import Dataset
from pwact.errors import PwactError

#: What `SOURCE:TEXT` may begin with; it is short for SOURCE("TEXT").
PLACES = {"folder": "folder:PATH", "npy": "npy:PATH", "tfds": "tfds:NAME"}
FACTORIES = {name: getattr(sources, name) for name in sources.__all__} | {"corrupted": corrupted}


def load(text: str) -> Dataset:
    """The dataset that `text` names.

    Args:
        text: one of

            - a name: `mnist5k`
            - a call with literal arguments: `bag(size=2000, seed=1)`, `folder("pets", image_size=32)`
            - a place: `folder:PATH`, `npy:PATH`, `tfds:NAME`, short for `folder("PATH")` and so on
            - the path of an .npz file
            - `corrupted(mnist5k(), 'fog', severity=4)`, with any call inside

    Returns:
        The dataset. Its name is `text`, so that what is recorded of it can be loaded again.

    Raises:
        PwactError: an unknown name (all are listed), arguments that are no literals or do not fit, or
            whatever the source itself refuses.

    Example:
        >>> import pwact
        >>> len(pwact.data.load("bag(size=30, seed=1)"))
        30
    """
    dataset = _made(text)
    return dataset if dataset.name == text else dataclasses.replace(dataset, name=text)


def _made(text: str) -> Any:
    source, _, place = text.partition(":")
    if source in PLACES and place:
        return getattr(sources, source)(place)
    if text.endswith(".npz"):
        return sources.npz(text)
    _check_name(text.partition("(")[0].strip(), text)
    return resolve(text, FACTORIES)


def _check_name(name: str, text: str) -> None:
    if name in FACTORIES:
        return
    names = [source for source in sources.__all__ if source != "npz" and source not in PLACES]
    places = ", ".join(PLACES.values())
    begun = name.lower().partition(":")[0]
    close = [PLACES.get(found, found) for found in difflib.get_close_matches(begun, FACTORIES, n=1)]
    raise PwactError(
        f"one of the datasets {', '.join(names)}, or {places}, or the path of an .npz file",
        f"'{text}'",
        f"nearest: {close[0]}" if close else f"give one of these, {places} or a path that ends in .npz",
    )
