"""What a row of the contract table is, and the references that rows are built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from pwact.core.accumulator import Accumulator

CLASSES = 4
"""Of the labels; class 3 holds no image."""


class Data(NamedTuple):
    """The images that a reference is told of: activations at a site and all else that is known of them.

    Attributes:
        x: float32 [image, row, column, channel] or [image, channel]; of a pairwise statistic a tuple of two,
            the second of which is `x * x - x` with one channel more, that holds zeros.
        label, index: int32 [image].
        prediction: int32 [image].
        logits: float32 [image, class].
        gradient: float32, shape of `x`.
        mask: bool [image, 4, 6].
    """

    x: Any
    label: np.ndarray
    index: np.ndarray
    prediction: np.ndarray
    logits: np.ndarray
    gradient: Any
    mask: np.ndarray

    def where(self, chosen: np.ndarray) -> Data:
        """The chosen images alone."""
        if isinstance(self.x, tuple):
            rest = Data(None, *self[1:5], None, self.mask)
            return rest.where(chosen)._replace(x=tuple(part[chosen] for part in self.x))
        return Data(*(None if part is None else part[chosen] for part in self))


Reference = Callable[[Data], dict[str, np.ndarray]]


class Contract(NamedTuple):
    """`factory`: the public name it covers. `reference`: data -> arrays.

    `tolerance`: for a result that rounds, by its name, the relative error that its docstring states.
    `absolute`: the same, absolute. `kinds`: the activations it is defined on: "map", "vector".
    `values`: the datasets that the bound is stated for (see `dataset`).
    """

    factory: str
    make: Callable[[], Accumulator]
    reference: Reference
    tolerance: Mapping[str, float] = MappingProxyType({})
    absolute: Mapping[str, float] = MappingProxyType({})
    kinds: tuple[str, ...] = ("map", "vector")
    values: tuple[str, ...] = ("normal", "ties", "offset", "constant")


def for_each_class(reference: Reference) -> Reference:
    """The reference of `by_class(statistic, CLASSES)`."""

    def classwise(data: Data) -> dict[str, np.ndarray]:
        parts = [reference(data.where(data.label == c)) for c in range(CLASSES)]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    return classwise


def pooled(reference: Reference) -> Reference:
    """The reference of `per_channel(statistic)`."""

    def poolwise(data: Data) -> dict[str, np.ndarray]:
        channels = data.x.shape[-1]
        points = int(np.prod(data.x.shape[1:-1]))
        label, index, prediction = (
            np.repeat(array, points) for array in (data.label, data.index, data.prediction)
        )
        return reference(
            data._replace(
                x=data.x.reshape(-1, channels),
                gradient=data.gradient.reshape(-1, channels),
                label=label,
                index=index,
                prediction=prediction,
            )
        )

    return poolwise
