"""The one exception that pwact raises on purpose: what was expected, what was found, what to do."""

from __future__ import annotations


class PwactError(Exception):
    """A question that cannot be answered as asked.

    Args:
        expected: what would have been right.
        found: what was there instead.
        do: the next step for the reader.

    Example:
        >>> raise PwactError("one of: digits, mnist5k", "'mnist'", "pick one of these names")
        Traceback (most recent call last):
        pwact.errors.PwactError: expected one of: digits, mnist5k; found 'mnist'; pick one of these names
    """

    def __init__(self, expected: str, found: str, do: str):
        self.expected, self.found, self.do = expected, found, do
        super().__init__(f"expected {expected}; found {found}; {do}")


class NonFiniteError(PwactError):
    """A NaN or an infinity where a number was needed."""
