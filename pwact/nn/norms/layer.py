"""Each point vector standardised by itself."""

from __future__ import annotations

from flax import nnx

from pwact.core.caching import memoized
from pwact.nn.norms.norm import Norm


@memoized
def layer() -> Norm:
    """Standardises the channels of each point by themselves.

    y = scale * (x - mean) / sqrt(var + 1e-6) + bias

    Returns:
        A norm after the convolution, with variables `scale` and `bias`; no bias before it.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.norms import layer
        >>> layer().layer(2, nnx.Rngs(0))(jnp.array([[[[1.0, 3.0]]]])).ravel().round(3).tolist()
        [-1.0, 1.0]

    Reference: J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, arXiv 1607.06450 (the statistics are
        of one point, not of the whole image). Status: code (flax's).
    """
    return Norm(lambda channels, rngs: nnx.LayerNorm(channels, rngs=rngs), None, False)
