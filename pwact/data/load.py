"""A dataset from the words that name it."""

from __future__ import annotations

import dataclasses

from pwact.core.registry import resolve
from pwact.data import sources
from pwact.data.dataset import ArrayDataset


def load(text: str) -> ArrayDataset:
    """The dataset that `text` names.

    Args:
        text: a name (`"mnist5k"`), a name with literal arguments (`"bag(size=2000, seed=1)"`), or the path
            of an .npz file.

    Returns:
        The dataset. Its name is `text`, so that what is recorded of it can be loaded again.

    Raises:
        PwactError: an unknown name (the nearest are listed), arguments that are no literals or do not fit,
            or whatever the source itself refuses.

    Example:
        >>> import pwact
        >>> len(pwact.data.load("bag(size=30, seed=1)"))
        30
    """
    dataset = sources.npz(text) if text.endswith(".npz") else resolve(text, sources)
    return dataset if dataset.name == text else dataclasses.replace(dataset, name=text)
