"""Which pixels of the input a point of an activation depends on, read from the program itself."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """Placeholder."""

    size: tuple[int, int]
