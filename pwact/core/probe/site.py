"""A named place in a model's program."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping

import jax
import numpy as np

from pwact.core.receptive_field import ReceptiveField
from pwact.errors import PwactError


@dataclasses.dataclass(frozen=True)
class Site:
    """A value of a model's program that can be captured and edited by name.

    Args:
        name: what it is called first; `aliases` are accepted in its place everywhere.
        aliases: other names of the same value, such as the block that returned it.
        operation: what produced it: a module's class (`Conv`), a function (`relu`) or an operation (`add`).
        shape: of one image's activation, without the axis of the batch. Inside a scan, the leading axes are
            the loops'.
        batch_axis: where the batch axis is in the captured array. None: no axis is the batch alone, and
            `shape` is that for a single image.
        dtype: of the activation.
        depth: its place in the order of the program; the input is 0.
        is_map: whether the activation is [batch, row, column, channel].
        editable: whether `edits` may name it.
        cuttable: whether the program can be cut there.
        when: empty, or where in the control flow it is: "scan of 4", "branch 1 of 2", "while, last turn".
            Where a branch is not taken, its sites are captured as zeros.
        receptive_field: which pixels of the input a point depends on; None where that is not defined.
    """

    name: str
    aliases: tuple[str, ...]
    operation: str
    shape: tuple[int, ...]
    batch_axis: int | None
    dtype: np.dtype
    depth: int
    is_map: bool
    editable: bool
    cuttable: bool
    when: str
    receptive_field: ReceptiveField | None

    @property
    def bytes_per_image(self) -> int:
        """What one image's activation takes in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one image's activation, as an accumulator's `init` takes it."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)


class UnknownSiteError(PwactError, KeyError):
    """A name that no site has."""

    __str__ = Exception.__str__


class Sites(Mapping[str, Site]):
    """The sites of a probe by name, in program order. Aliases are found but not listed.

    Args:
        sites: each of them once.
    """

    def __init__(self, sites: Iterable[Site]):
        self._sites = {site.name: site for site in sites}
        self._by_any_name = {
            name: site for site in self._sites.values() for name in (site.name, *site.aliases)
        }

    def __getitem__(self, name: str) -> Site:
        if name in self._by_any_name:
            return self._by_any_name[name]
        near = difflib.get_close_matches(str(name), self._by_any_name, n=3, cutoff=0.5)
        raise UnknownSiteError(
            f"a site, such as {', '.join(map(repr, near or list(self)[:3]))}",
            repr(name),
            "see all of them in `probe.sites` or with `pwact sites`",
        )

    def __contains__(self, name: object) -> bool:
        return name in self._by_any_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __repr__(self) -> str:
        return table(list(self.values()))


def table(sites: list[Site]) -> str:
    """Sites as aligned text: name, operation, shape, bytes per image, receptive field, remarks."""
    head = ("site", "operation", "shape", "bytes/image", "receptive field", "")
    rows = [head, *map(_row, sites)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(site: Site) -> tuple[str, ...]:
    remarks = [f"also {', '.join(site.aliases)}"] if site.aliases else []
    remarks += [site.when] if site.when else []
    remarks += [] if site.editable else ["read only"]
    return (
        site.name,
        site.operation,
        f"{'x'.join(map(str, site.shape)) or 'scalar'} {site.dtype.name}",
        f"{site.bytes_per_image:,}",
        str(site.receptive_field) if site.receptive_field else "-",
        "; ".join(remarks),
    )
