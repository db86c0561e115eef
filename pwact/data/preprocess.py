"""From stored pixels to what a network sees, as a recorded function."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Num

from pwact.data.dataset import Dataset
from pwact.errors import PwactError


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """(image - mean) / std for each channel, in float32, on the device.

    Args:
        mean: in pixel units, one number for all channels or one a channel.
        std: in pixel units, likewise, above 0.

    Raises:
        PwactError: lengths that differ, or a std that is not above 0.

    Example:
        >>> import numpy as np
        >>> from pwact.data import Preprocess
        >>> half = Preprocess(mean=(0.0,), std=(255.0,))
        >>> float(half(np.full((1, 2, 2, 1), 51, np.uint8))[0, 0, 0, 0])
        0.2...
        >>> half.describe()
        '(image - [0]) / [255]'
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        numbers = np.array(self.mean + self.std)
        if (
            len(self.mean) != len(self.std)
            or not self.mean
            or not np.isfinite(numbers).all()
            or min(self.std) <= 0
        ):
            raise PwactError(
                "as many means as stds, finite, every std above 0",
                self.describe(),
                "give one of each a channel",
            )

    @classmethod
    def standardise(cls, dataset: Dataset) -> Preprocess:
        """Mean 0 and variance 1 for each channel over all images and positions of `dataset`.

        Use the training part only. A channel that never varies is only centred.
        """
        count, total, squares = 0, np.zeros(dataset.image_shape[2]), np.zeros(dataset.image_shape[2])
        for start in range(0, len(dataset), 1024):
            image = np.asarray(
                dataset.read(np.arange(start, min(start + 1024, len(dataset)))).image, np.float64
            )
            count += image[..., 0].size
            total += image.sum((0, 1, 2))
            squares += (image**2).sum((0, 1, 2))
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return cls(tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()))

    def __call__(
        self, image: Num[Array | np.ndarray, "*batch row column channel"]
    ) -> Float32[Array, "*batch row column channel"]:
        if len(self.mean) not in (1, image.shape[-1]):
            raise PwactError(
                f"images of {len(self.mean)} channels",
                f"shape {list(image.shape)}",
                "preprocess the data it was made for",
            )
        ones = (1,) * (image.ndim - 1)
        mean, std = (jnp.array(value, jnp.float32).reshape(*ones, -1) for value in (self.mean, self.std))
        return (jnp.asarray(image, jnp.float32) - mean) / std

    def describe(self) -> str:
        """The formula with its numbers, for provenance."""

        def numbers(values: tuple[float, ...]) -> str:
            return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"

        return f"(image - {numbers(self.mean)}) / {numbers(self.std)}"
