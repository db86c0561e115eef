"""What is done to a network besides the recipe: its labels, and changes that stay in place at a site."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pwact import edits
from pwact.core.caching import described
from pwact.core.registry import nearest, resolve
from pwact.errors import PwactError

Treatment = Literal["trained", "shuffled_labels", "untrained"]


@dataclasses.dataclass(frozen=True)
class Intervention:
    """A change of the activation at one site, in place in every step of training.

    Args:
        site: a site of the network, e.g. `blocks.1.relu`.
        fn: (key, activation [batch, row, column, channel]) -> activation of the same shape and dtype: one of
            `pwact.edits`, which say themselves whether they also act in evaluation, or a function, which
            does. Give the same function object for the same change: programs are kept by it.

    Example:
        >>> from pwact import edits
        >>> from pwact.train import Intervention
        >>> Intervention("blocks.0.relu", edits.max_dropout(rate=0.3)).evaluation
        False
    """

    site: str
    fn: Callable[[Any, Float[Array, "batch row column channel"]], Float[Array, "batch row column channel"]]

    @classmethod
    def parse(cls, text: str) -> Intervention:
        """From `SITE=EDIT`, an edit of `pwact.edits`.

        Example:
            >>> from pwact.train import Intervention
            >>> Intervention.parse("blocks.0.relu=dropout(rate=0.5)").name
            'dropout(rate=0.5) at blocks.0.relu'
        """
        site, equals, edit = text.partition("=")
        if not equals:
            raise PwactError("SITE=EDIT", repr(text), "write it like blocks.0.relu=max_dropout(rate=0.3)")
        return cls(site.strip(), resolve(edit, edits))

    @property
    def evaluation(self) -> bool:
        """Whether the change is also in place in evaluation."""
        return bool(getattr(self.fn, "evaluation", True))

    @property
    def name(self) -> str:
        """The edit and the site, for provenance."""
        return f"{described(self.fn)} at {self.site}"


class Member(NamedTuple):
    """One network of a training.

    Args:
        seed: of all its streams that are not held.
        streams: seeds that single streams (`STREAMS`) are held at.
        numbers: values of the recipe's `NUMBERS` that are its own.
    """

    seed: int
    streams: Mapping[str, int] = {}
    numbers: Mapping[str, float] = {}


def check_streams(streams: Mapping[str, int]) -> dict[str, int]:
    """Held streams: names of `STREAMS`, and seeds that a jax key can hold."""
    for name in streams:
        if name not in STREAMS:
            raise PwactError(f"a stream, one of: {', '.join(STREAMS)}", repr(name), nearest(name, STREAMS))
    if streams:
        check_seeds(list(dict.fromkeys(streams.values())))
    return {name: int(streams[name]) for name in STREAMS if name in streams}


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Seeds as integers: at least one, none twice, each one that a jax key can hold."""
    found = tuple(seeds)
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) for seed in found)
    if not found or not whole or not all(0 <= seed < 2**32 for seed in found):
        raise PwactError(
            "at least one seed, each a whole number in 0 .. 2^32 - 1", repr(found)[:80], "use range(10)"
        )
    if len(set(found)) < len(found):
        twice = next(seed for seed in found if found.count(seed) > 1)
        raise PwactError(
            "different seeds", f"{twice} more than once", "drop it: it would be the same network twice"
        )
    return tuple(int(seed) for seed in found)


def members_of(seeds: Sequence[int | Member], streams: Mapping[str, int]) -> tuple[Member, ...]:
    """The networks that are asked for, with the streams that all of them hold."""
    held, given = check_streams(streams), list(seeds)
    plain = [seed for seed in given if not isinstance(seed, Member)]
    if plain or not given:
        check_seeds(plain)
    members: list[Member] = []
    for each in given:
        own = each if isinstance(each, Member) else Member(int(each))
        check_seeds([own.seed])
        member = Member(int(own.seed), held | check_streams(own.streams), dict(own.numbers))
        if member in members:
            raise PwactError("different networks", f"{member} twice", "drop it: it would be the same network")
        members.append(member)
    return tuple(members)


def check_treatment(treatment: str) -> None:
    """Refuse a treatment that does not exist."""
    if treatment not in get_args(Treatment):
        raise PwactError(f"one of: {', '.join(get_args(Treatment))}", repr(treatment), "pick one of these")


STREAMS = ("initialisation", "order", "augmentation", "dropout", "labels")
"""What a network's seed draws, each from a stream of its own that can be held at another seed."""


def stream(key: Any, purpose: str) -> Any:
    """An independent key for one purpose (`order`, `labels`, `dropout`, ...) of a seed's key."""
    return key if purpose == "initialisation" else jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def stream_keys(members: Sequence[Member], purpose: str) -> Any:
    """The keys [network] of one stream."""
    seeds = [member.streams.get(purpose, member.seed) for member in members]
    return jax.vmap(lambda seed: stream(jax.random.key(seed), purpose))(jnp.array(seeds, jnp.uint32))


def labels_for(
    treatment: Treatment, labels: Int[np.ndarray, " image"], members: Sequence[Member]
) -> Int[np.ndarray, "network image"]:
    """The labels that each network is trained on; `shuffled_labels` permutes them anew for each."""
    if treatment != "shuffled_labels":
        return np.broadcast_to(labels, (len(members), len(labels)))
    permuted = [jax.random.permutation(key, labels) for key in stream_keys(members, "labels")]
    return np.stack([np.asarray(each) for each in permuted])
