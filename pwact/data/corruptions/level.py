"""How hard a corruption is, in the two versions of the benchmark."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

T = TypeVar("T")
SMALL = 64


class Level(NamedTuple):
    """One of five severities, of the benchmark's version for small images or of that for large ones.

    Args:
        severity: 1 to 5.
        small: whether the constants are those of CIFAR-10-C (32x32) or those of ImageNet-C (224x224).

    Example:
        >>> Level(2, small=True).of((1, 2, 3, 4, 5), (10, 20, 30, 40, 50))
        2
    """

    severity: int
    small: bool

    def of(self, small: tuple[T, ...], large: tuple[T, ...]) -> T:
        """The constant of this level, from the five of either version."""
        return (small if self.small else large)[self.severity - 1]
