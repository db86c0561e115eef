"""The receptive fields of all sites as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr


def receptive_fields(sites: Mapping[str, Any]) -> xr.Dataset:
    """Size, stride and offset of the receptive field at every site, in pixels.

    The point at (row, column) depends on `size` pixels from `offset + stride * (row, column)`, as far as
    they lie in the image.

    Args:
        sites: by name, in order: `probe.sites`.

    Returns:
        `size`, `stride` and `offset` [site, axis] with axis `row`, `column`; whole numbers as floats, NaN
        where a site has no receptive field, such as one that mixes images. A stride of 0: every point sees
        the same. `operation` [site] is what produced it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.core.probe import probe
        >>> def model(image):
        ...     dims, kernel = ("NHWC", "HWIO", "NHWC"), jnp.ones((3, 3, 1, 2))
        ...     return jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=dims)
        >>> table = receptive_fields(probe(model, jnp.ones((2, 8, 8, 1))).sites)
        >>> [table[name].values[-1].tolist() for name in ("size", "stride", "offset")]
        [[3.0, 3.0], [2.0, 2.0], [0.0, 0.0]]

    Reference: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill
        (2019).
    """
    fields = [site.receptive_field for site in sites.values()]
    nowhere = (np.nan, np.nan)
    arrays: dict[str, Any] = {
        name: (
            ("site", "axis"),
            np.array([nowhere if f is None else getattr(f, name) for f in fields], float),
        )
        for name in ("size", "stride", "offset")
    }
    arrays["operation"] = ("site", [site.operation for site in sites.values()])
    return xr.Dataset(arrays, coords={"site": list(sites), "axis": ["row", "column"]})
