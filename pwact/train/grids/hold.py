"""Streams of randomness that are held, so that one can be varied on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pwact.errors import PwactError
from pwact.train.grids.values import assignment, typed
from pwact.train.treatment import STREAMS, check_streams


def parse_hold(texts: Sequence[str]) -> dict[str, int]:
    """`STREAM=SEED` of the command line as the mapping that `grid` and `train` take.

    Example:
        >>> parse_hold(["order=0", "dropout=7"])
        {'order': 0, 'dropout': 7}
    """
    held: dict[str, int] = {}
    for text in texts:
        name, seed = assignment(text)
        if name in held:
            raise PwactError("each stream once", f"{name} twice", "hold it at one seed")
        held[name] = typed(name, int, seed)
    return check_streams(held)


def all_but(stream: str, held: Mapping[str, int] | None = None) -> dict[str, int]:
    """Every stream held but one, which then alone follows the network's seed.

    Args:
        stream: the one that varies.
        held: seeds of others; 0 where it says nothing.

    Returns:
        What `grid(hold=...)` and `train(streams=...)` take.

    Example:
        >>> all_but("order", {"labels": 3})
        {'initialisation': 0, 'augmentation': 0, 'dropout': 0, 'labels': 3}
    """
    check_streams({stream: 0})
    held = dict(held or {})
    if stream in held:
        raise PwactError(f"{stream} to vary or to be held", "both", "drop one of them")
    return check_streams({name: 0 for name in STREAMS if name != stream} | held)
