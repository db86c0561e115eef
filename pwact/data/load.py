"""A dataset from the words that name it."""

from __future__ import annotations

import dataclasses
import difflib

from pwact.core.registry import resolve
from pwact.data import sources
from pwact.data.dataset import ArrayDataset
from pwact.errors import PwactError


def load(text: str) -> ArrayDataset:
    """The dataset that `text` names.

    Args:
        text: a name (`"mnist5k"`), a name with literal arguments (`"bag(size=2000, seed=1)"`), or the path
            of an .npz file.

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
    if text.endswith(".npz"):
        dataset = sources.npz(text)
    else:
        _check_name(text.partition("(")[0].strip(), text)
        dataset = resolve(text, sources)
    return dataset if dataset.name == text else dataclasses.replace(dataset, name=text)


def _check_name(name: str, text: str) -> None:
    if name in sources.__all__:
        return
    names = [source for source in sources.__all__ if source != "npz"]
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    raise PwactError(
        f"one of the datasets {', '.join(names)}, or the path of an .npz file",
        f"'{text}'",
        f"nearest: {close[0]}" if close else "pick one of these, or give a path that ends in .npz",
    )
