"""Groups of channels standardised within an image."""

from __future__ import annotations

import math

from flax import nnx

from pwact.core.caching import memoized
from pwact.nn.norms.norm import Norm


@memoized
def group() -> Norm:
    """Standardises groups of neighbouring channels over the points of each image by itself.

    y = scale * (x - mean) / sqrt(var + 1e-6) + bias,   in gcd(8, channels) groups

    Returns:
        A norm after the convolution, with variables `scale` and `bias`; no bias before it.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.norms import group
        >>> group().layer(12, nnx.Rngs(0)).num_groups
        4

    Reference: Y. Wu, K. He, Group normalization, ECCV 2018. Status: code (flax's).
    """
    return Norm(
        lambda channels, rngs: nnx.GroupNorm(channels, num_groups=math.gcd(channels, 8), rngs=rngs),
        None,
        False,
    )
