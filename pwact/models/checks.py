"""What every architecture checks of its fields before anything is built."""

from __future__ import annotations

from typing import Any

from pwact.errors import PwactError


def check_ends(image_shape: Any, num_classes: Any) -> tuple[int, int, int]:
    """The image's shape as a tuple, once it and the classes are positive whole numbers."""
    if (
        not isinstance(image_shape, tuple | list)
        or len(image_shape) != 3
        or not all(map(positive, image_shape))
    ):
        raise PwactError("image_shape as (row, column, channel)", repr(image_shape), "give three numbers")
    check_positive("num_classes", num_classes)
    rows, columns, channels = map(int, image_shape)
    return rows, columns, channels


def check_positive(name: str, value: Any) -> None:
    """Refuse what is neither a positive whole number nor a (nested) sequence of such."""
    if isinstance(value, tuple | list) and value:
        for item in value:
            check_positive(name, item)
    elif not positive(value):
        raise PwactError(f"{name} of positive whole numbers", f"{name}={value!r}", "correct it")


def check_size(what: str, image_shape: tuple[int, int, int], least: int, instead: str) -> None:
    """Refuse images that the network would shrink to nothing.

    Args:
        what: the network, in words.
        image_shape: (row, column, channel).
        least: rows and columns that it needs.
        instead: what to do.
    """
    if min(image_shape[:2]) < least:
        raise PwactError(
            f"images of at least {least}x{least} pixels for {what}",
            f"{image_shape[0]}x{image_shape[1]}",
            instead,
        )


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise PwactError(
            f"{name} as one of: {', '.join(map(str, choices))}", f"{name}={value!r}", "pick one of these"
        )


def positive(value: Any) -> bool:
    """Whether a value is a whole number of 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
