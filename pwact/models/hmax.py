"""HMAX: a model of the ventral stream whose only trained layer is the last."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from pwact.models.checks import check_ends, check_positive, check_size
from pwact.nn.conv import Form

CONTRAST = 1e-4
"""Added to the squared length of a patch, so that one without contrast answers 0 and not NaN."""


class Fixed(nnx.Variable):
    """Numbers that training leaves alone and a checkpoint holds."""


@dataclasses.dataclass(frozen=True)
class HMAX:
    """S1 Gabor filters, C1 local maxima, S2 templates, C2 global maxima, and a linear readout that learns.

        s1 = |<patch, gabor>| / ||patch||     c1 = max over two scales and a neighbourhood of s1
        s2 = exp(-||c1 patch - template||^2 / (2 alpha)), alpha = (template_size / 4)^2
        c2 = max over all places and bands of s2

    Band b = 0, 1, ... has filters of 7 + 4b and 9 + 4b pixels with the published widths and wavelengths, and
    neighbourhoods of 8 + 2b points that overlap by half. Colour images are taken as the mean of their
    channels. The templates are patches of C1 over images of 1/f noise drawn from the seed; the original took
    them from natural images. All kernels are `Fixed` variables, no `nnx.Param`.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        orientations: of the Gabor filters, evenly over half a turn.
        bands: of two scales each.
        templates: S2 units, and what the readout sees.
        template_size: rows and columns of a template on a C1 map.

    Raises:
        PwactError: a field that makes no network, or an image in which a filter or template has no room.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.models import HMAX, build, parameters
        >>> config = HMAX((16, 16, 1), 2, bands=1, templates=6)
        >>> build(config, 0)(jnp.zeros((3, 16, 16, 1))).shape, parameters(config)
        ((3, 2), 14)

    Reference: M. Riesenhuber, T. Poggio, Nature Neuroscience 2, 1999; T. Serre, L. Wolf, T. Poggio, Object
    recognition with features inspired by visual cortex, CVPR 2005 (scales); J. Mutch, D. Lowe, IJCV 80, 2008
    (alpha). Status: reconstruction.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    orientations: int = 4
    bands: int = 2
    templates: int = 128
    template_size: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        for name in ("orientations", "bands", "templates", "template_size"):
            check_positive(name, getattr(self, name))
        # The last band has the largest filter, and the C1 map with the fewest points.
        last = self.bands - 1
        step = _neighbourhood(last) // 2
        least = max(9 + 4 * last, step * (self.template_size - 1) + 1)
        check_size(
            "this HMAX", self.image_shape, least, "use fewer bands, smaller templates or larger images"
        )

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its templates and readout drawn from `rngs`. No gradient passes its convolutions, so
        `form` makes no difference."""
        return Ventral(self, rngs)


class Ventral(nnx.Module):
    """The network of an `HMAX`. Sites: `bands.0.s1`, `bands.0.c1`, `s2`, `s2@2`, ..., `c2`, `head`."""

    def __init__(self, config: HMAX, rngs: nnx.Rngs):
        self.bands = nnx.List([Band(band, config.orientations) for band in range(config.bands)])
        self.s2 = Templates(_templates(self.bands[0], config, rngs.params()))
        self.c2 = Strongest()
        self.head = nnx.Linear(config.templates, config.num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        x = x.mean(-1, keepdims=True)
        return self.head(self.c2([self.s2(band(x)) for band in self.bands]))


class Band(nnx.Module):
    """C1 of two neighbouring scales."""

    def __init__(self, band: int, orientations: int):
        self.s1 = nnx.List([Gabor(7 + 4 * band + more, orientations) for more in (0, 2)])
        self.c1 = Local(_neighbourhood(band))

    def __call__(
        self, x: Float[Array, "batch row column 1"]
    ) -> Float[Array, "batch row2 column2 orientation"]:
        return self.c1(jnp.maximum(*(scale(x) for scale in self.s1)))


class Gabor(nnx.Module):
    """The absolute cosine between each patch and Gabor filters of one size."""

    def __init__(self, size: int, orientations: int):
        self.kernel = Fixed(jnp.asarray(gabor(size, orientations)))

    def __call__(self, x: Float[Array, "batch row column 1"]) -> Float[Array, "batch row column orientation"]:
        kernel = self.kernel[...]
        size = kernel.shape[0]
        length = lax.reduce_window(x * x, 0.0, lax.add, (1, size, size, 1), (1, 1, 1, 1), "SAME")
        return jnp.abs(_convolve(x, kernel, "SAME")) / jnp.sqrt(length + CONTRAST)


class Local(nnx.Module):
    """Maxima over square neighbourhoods that overlap by half."""

    def __init__(self, size: int):
        self.size = size

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 channel"]:
        step = self.size // 2
        return nnx.max_pool(x, (self.size, self.size), (step, step), "SAME")


class Templates(nnx.Module):
    """How near each patch of a map is to each template, from 0 to 1."""

    def __init__(self, kernel: Float[Array, "size size channel template"]):
        self.kernel = Fixed(kernel)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 template"]:
        kernel = self.kernel[...]
        size, _, channels, _ = kernel.shape
        window = (1, size, size, channels)
        length = lax.reduce_window(x * x, 0.0, lax.add, window, (1, 1, 1, 1), "VALID")
        own = (kernel**2).sum((0, 1, 2)).reshape(1, 1, 1, -1)
        distance = jnp.maximum(length - 2 * _convolve(x, kernel, "VALID") + own, 0.0)
        return jnp.exp(-distance / (2 * (size / 4) ** 2))


class Strongest(nnx.Module):
    """The maximum of each template over all places and bands."""

    def __call__(self, maps: list[Array]) -> Float[Array, "batch template"]:
        return jnp.stack([each.max((1, 2)) for each in maps]).max(0)


def gabor(size: int, orientations: int) -> np.ndarray:
    """Gabor filters [size, size, 1, orientation], float32, inside a disc, of mean 0 and length 1.

    exp(-(u^2 + 0.09 v^2) / (2 sigma^2)) cos(2 pi u / lambda),
    sigma = 0.0036 size^2 + 0.35 size + 0.18, lambda = sigma / 0.8
    """
    sigma = 0.0036 * size**2 + 0.35 * size + 0.18
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    disc = row**2 + column**2 <= (size / 2) ** 2
    filters = []
    for angle in np.pi * np.arange(orientations) / orientations:
        u = column * np.cos(angle) + row * np.sin(angle)
        v = -column * np.sin(angle) + row * np.cos(angle)
        values = np.exp(-(u**2 + 0.09 * v**2) / (2 * sigma**2)) * np.cos(2 * np.pi * u / (sigma / 0.8))
        values = np.where(disc, values - values[disc].mean(), 0.0)
        filters.append(values / np.linalg.norm(values))
    return np.stack(filters, -1)[:, :, None].astype(np.float32)


def _templates(band: Band, config: HMAX, key: Any) -> Float[Array, "size size orientation template"]:
    """Patches of C1 from the middle of images of 1/f noise."""
    size = config.template_size
    side = max(32, 4 * size + 16)
    waves = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    waves[0, 0] = math.inf
    noise = jax.random.normal(key, (config.templates, side, side))
    images = jnp.fft.irfft2(jnp.fft.rfft2(noise) / jnp.asarray(waves, jnp.float32)[None], s=(side, side))
    maps = band(images[..., None])
    start = (maps.shape[1] - size) // 2
    return maps[:, start : start + size, start : start + size].transpose(1, 2, 3, 0)


def _neighbourhood(band: int) -> int:
    return 8 + 2 * band


def _convolve(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
