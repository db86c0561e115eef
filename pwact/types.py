"""The values that travel between rooms: what a dataset gives, what a statistic sees."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from jaxtyping import Bool, Float, Int, Num


class Batch(NamedTuple):
    """Images with their labels and their place in the dataset, padded to a fixed size.

    Rows with `valid` false are padding: they carry no image and must change no result.
    """

    image: Num[Array, "batch row column channel"]
    label: Int[Array, " batch"]
    index: Int[Array, " batch"]  # type: ignore[assignment]
    valid: Bool[Array, " batch"]


class Observation(NamedTuple):
    """What an accumulator is shown of one batch at one site.

    `prediction` is the model's own decision. Rows with `valid` false are padding.
    """

    activation: Float[Array, "batch ..."]
    label: Int[Array, " batch"]
    prediction: Int[Array, " batch"]
    index: Int[Array, " batch"]  # type: ignore[assignment]
    valid: Bool[Array, " batch"]
