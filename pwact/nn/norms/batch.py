"""Each channel standardised over the batch."""

from __future__ import annotations

from flax import nnx

from pwact.core.caching import memoized
from pwact.nn.norms.norm import Norm


@memoized
def batch() -> Norm:
    """Standardises each channel over images and points, in evaluation by running moments.

    y = scale * (x - mean) / sqrt(var + 1e-5) + bias

    Running moments keep 0.9 of themselves at each step.

    Returns:
        A norm after the convolution, with variables `scale`, `bias`, `mean` and `var`; no bias before it.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.norms import batch
        >>> x = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
        >>> batch().layer(1, nnx.Rngs(0))(x).ravel().round(3).tolist()
        [-1.0, 1.0]

    Reference: S. Ioffe, C. Szegedy, Batch normalization: accelerating deep network training by reducing
        internal covariate shift, ICML 2015. Status: code (flax's).
    """
    return Norm(lambda channels, rngs: nnx.BatchNorm(channels, momentum=0.9, rngs=rngs), None, False)
