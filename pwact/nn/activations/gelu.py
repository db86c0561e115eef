"""The Gaussian error linear unit."""

from __future__ import annotations

import jax

from pwact.core.caching import memoized
from pwact.nn.activations.activation import Activation


@memoized
def gelu() -> Activation:
    """Weighs each number by a normal distribution's share below it.

    y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), which is x Phi(x) to 1e-3

    Returns:
        An activation without parameters; its site is named `gelu`.

    Raises:
        Nothing.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.nn.activations import gelu
        >>> gelu().make(1, nnx.Rngs(0))(jnp.array([-1.0, 2.0])).round(3).tolist()
        [-0.159..., 1.955...]

    Reference: D. Hendrycks, K. Gimpel, Gaussian error linear units (GELUs), arXiv 1606.08415. Status: code
        (jax's, with the tanh of the paper).
    """
    return Activation(lambda channels, rngs: jax.nn.gelu)
