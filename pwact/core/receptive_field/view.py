"""Which part of one axis of the image the entries of a value see."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce

Shape = Sequence[int]


@dataclasses.dataclass(frozen=True)
class View:
    """What the entries of a value see of one axis of the image.

    The entry at index i sees pixels from `offset + sum(strides[a] * i[a])`, `size` of them, between `low` and
    `high`. Entries that differ only along `loose` axes may each see a part of that window. When `known` is
    false only the axes along which the window moves are known, not how.
    """

    strides: Mapping[int, int]
    offset: int
    size: int
    low: int
    high: int
    loose: frozenset[int] = frozenset()
    known: bool = True

    def hull(self, shape: Shape) -> tuple[int, int]:
        """The pixels that any entry sees."""
        ends = [stride * (shape[axis] - 1) for axis, stride in self.strides.items()]
        start = self.offset + sum(min(0, end) for end in ends)
        stop = self.offset + self.size + sum(max(0, end) for end in ends)
        return max(start, self.low), min(stop, self.high)

    def spread(self, axis: int, shape: Shape) -> View:
        """Give every entry along an axis the window of all of them together."""
        if axis not in self.strides:
            return self
        end = self.strides[axis] * (shape[axis] - 1)
        return dataclasses.replace(
            self,
            strides={a: stride for a, stride in self.strides.items() if a != axis},
            offset=self.offset + min(0, end),
            size=self.size + abs(end),
            loose=self.loose | {axis},
        )

    def moved(self, places: Mapping[int, int]) -> View:
        """Rename axes; an axis without a new place is gone."""
        return dataclasses.replace(
            self,
            strides={places[axis]: stride for axis, stride in self.strides.items() if axis in places},
            loose=frozenset(places[axis] for axis in self.loose if axis in places),
        )

    def along(self, axis: int, shape: Shape, start: int, step: int = 1, taps: int = 1, gap: int = 1) -> View:
        """Let index i of an axis read indices `start + step * i + gap * tap` of it."""
        if axis not in self.strides:
            return self
        stride, reach = self.strides[axis], self.strides[axis] * (taps - 1) * gap
        low, high = self.hull(shape)
        return dataclasses.replace(
            self,
            strides={**self.strides, axis: stride * step},
            offset=self.offset + stride * start + min(0, reach),
            size=self.size + abs(reach),
            low=low,
            high=high,
        )

    def lost(self, axis: int) -> View:
        """Forget how the window moves, when it moves along this axis."""
        return dataclasses.replace(self, known=False) if axis in self.strides else self


Views = tuple[View, ...]
"""One for each axis of the image, the batch first."""

Value = Views | None
"""None: does not depend on the image."""


def union(first: View, second: View, shape: Shape) -> View:
    """What an entry sees that reads both."""
    if not (first.known and second.known):
        return dataclasses.replace(first, strides={**first.strides, **second.strides}, known=False)
    for fixed, other in ((first, second), (second, first)):
        low, high = other.hull(shape)
        if (
            not fixed.strides
            and not fixed.loose
            and fixed.hull(shape)[0] <= low
            and high <= fixed.hull(shape)[1]
        ):
            return fixed
    for axis in {*first.strides, *second.strides}:
        if first.strides.get(axis) != second.strides.get(axis):
            first, second = first.spread(axis, shape), second.spread(axis, shape)
    offset = min(first.offset, second.offset)
    return View(
        first.strides,
        offset,
        max(first.offset + first.size, second.offset + second.size) - offset,
        min(first.low, second.low),
        max(first.high, second.high),
        first.loose | second.loose,
    )


def united(values: Iterable[Value], shape: Shape) -> Value:
    """What an entry sees that reads all of the values, which have one shape or are scalars."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return tuple(reduce(partial(union, shape=shape), views) for views in zip(*present, strict=True))
