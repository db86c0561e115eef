"""Evaluation and training: the switches that frameworks and their users put on models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from pwact.errors import PwactError

Mode = Literal["evaluation", "training"]

SWITCHES: dict[str, Mode] = {
    "train": "training",
    "training": "training",
    "is_training": "training",
    "deterministic": "evaluation",
    "use_running_average": "evaluation",
    "eval": "evaluation",
    "inference": "evaluation",
    "is_eval": "evaluation",
}
"""The names under which a boolean says how a model is run, and the mode in which each is true."""


def checked_mode(mode: str) -> Mode:
    """The mode; anything but the two raises."""
    if mode == "evaluation":
        return "evaluation"
    if mode == "training":
        return "training"
    raise PwactError("mode 'evaluation' or 'training'", repr(mode), "choose one of the two")


def switches_of(call: Callable[..., Any], mode: Mode) -> dict[str, bool]:
    """The keyword arguments that run a call in a mode, from the names in its signature.

    Example:
        >>> switches_of(lambda image, *, train: image, "evaluation")
        {'train': False}
    """
    parameters = inspect.signature(call).parameters
    return {name: SWITCHES[name] == mode for name in parameters if name in SWITCHES}


def check_callable_with_image(call: Callable[..., Any], given: dict[str, bool], model: str) -> None:
    """Raise when a call needs more arguments than the image and the switches."""
    parameters = [
        parameter
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.default is parameter.empty
        and parameter.name not in given
    ]
    if len(parameters) > 1:
        names = ", ".join(parameter.name for parameter in parameters[1:])
        raise PwactError(
            f"a model that is called with an image and, at most, {', '.join(SWITCHES)}",
            f"{model} also needs {names}",
            "wrap it in a function(variables, image) that passes them, and probe that function",
        )
