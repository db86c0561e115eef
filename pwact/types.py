"""The values that travel between rooms: what a dataset gives, what a statistic sees."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from jaxtyping import Bool, Float, Int, Num


class Batch(NamedTuple):
    """Images with their labels and their place in the dataset, padded to a fixed size.

    Rows with `valid` false are padding: they carry no image and must change no result. `mask` marks the
    pixels that the class is about, where the dataset knows them.
    """

    image: Num[Array, "batch row column channel"]
    label: Int[Array, " batch"]
    index: Int[Array, " batch"]  # type: ignore[assignment]
    valid: Bool[Array, " batch"]
    mask: Bool[Array, "batch row column"] | None = None


class Observation(NamedTuple):
    """What an accumulator is shown of one batch at one site.

    `prediction` is the model's own decision. Rows with `valid` false are padding. What an accumulator does
    not look at is not computed.

    Attributes:
        activation: at the site; for a pairwise accumulator a tuple of those at two sites.
        label: of the dataset.
        prediction: argmax of the logits.
        index: place in the whole dataset.
        valid: which rows are images.
        logits: of the model.
        gradient: of the sweep's `gradient_of` with respect to the activation, of the same shape; None
            where none was asked for.
        mask: object pixels at the image's resolution; None where the dataset has none.
    """

    activation: Float[Array, "batch ..."]
    label: Int[Array, " batch"]
    prediction: Int[Array, " batch"]
    index: Int[Array, " batch"]  # type: ignore[assignment]
    valid: Bool[Array, " batch"]
    logits: Float[Array, "batch class"] | None = None
    gradient: Float[Array, "batch ..."] | None = None
    mask: Bool[Array, "batch row column"] | None = None
