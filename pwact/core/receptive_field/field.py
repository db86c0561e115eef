"""The receptive field of a point."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """The window of the input that a point sees; of each pair, rows first, columns second.

    The point at `position` depends on `size` pixels from `offset + stride * position`, as far as they lie
    in the image. A stride of 0 means that every point sees the same window. It is what the program reads: a
    weight that happens to be zero is not noticed, and the window of a dilated convolution has holes.

    Args:
        size: rows and columns of the window, in pixels.
        stride: how far the window moves from one point to the next, in pixels.
        offset: where the window of the first point begins; negative where padding was added.
        seen: the rows and the columns that any point sees, as (first, one after the last).
        image: rows and columns of the image.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]
    seen: tuple[tuple[int, int], tuple[int, int]]
    image: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The pixels that a point depends on, as (top, left, bottom, right), the last two exclusive.

        Example:
            >>> ReceptiveField((3, 3), (2, 2), (-1, -1), ((0, 8), (0, 8)), (8, 8)).box(0, 3)
            (0, 5, 2, 8)
        """
        edges = [
            (max(offset + stride * position, low), min(offset + stride * position + size, high))
            for size, stride, offset, position, (low, high) in zip(
                self.size, self.stride, self.offset, (row, column), self.seen, strict=True
            )
        ]
        (top, bottom), (left, right) = edges
        return top, left, bottom, right

    @property
    def whole_image(self) -> bool:
        """Whether every point sees everything."""
        return self.stride == (0, 0) and self.size == self.image

    def __str__(self) -> str:
        if self.whole_image:
            return "whole image"
        size, stride = ("x".join(map(str, pair)) for pair in (self.size, self.stride))
        return f"{size}, fixed" if self.stride == (0, 0) else f"{size}, stride {stride}"
