"""One number between 0 and 1 from stages of known weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Progress:
    """Turns shares of stages into a share of the whole.

    Args:
        weights: how long each stage takes, in any unit, in order.
        report: called with (stage, share of the whole); nothing is called if None.

    Example:
        >>> seen = []
        >>> progress = Progress({"a": 1.0, "b": 3.0}, lambda stage, done: seen.append((stage, done)))
        >>> progress("a"); progress("b"); progress("b", 0.5)
        >>> seen
        [('a', 0.0), ('b', 0.25), ('b', 0.625)]
    """

    def __init__(self, weights: Mapping[str, float], report: Callable[[str, float], None] | None):
        self._weights = dict(weights)
        self._report = report

    def __call__(self, stage: str, share: float = 0.0, words: str | None = None) -> None:
        """Say how much of a stage is done, in other words than its name if given; those before it are."""
        before = list(self._weights)[: list(self._weights).index(stage)]
        done = sum(self._weights[name] for name in before) + share * self._weights[stage]
        if self._report is not None:
            self._report(words or stage, done / sum(self._weights.values()))
