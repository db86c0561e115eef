"""Kernels whose filters have mean zero and a fixed length."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.core.registry import nearest
from pwact.errors import PwactError
from pwact.nn.norms.norm import Norm

GAINS = {"he": math.sqrt(2), "unit": 1.0, "centred": math.sqrt(2 / (1 - 1 / math.pi))}
"""Lengths of a filter. `he` keeps the mean square through a ReLU, `unit` the variance of a standardised
input, `centred` the variance through a ReLU whose mean a filter of mean zero does not see."""


@memoized
def weight_align(gain: Literal["he", "unit", "centred"] = "he", epsilon: float = 1e-5) -> Norm:
    """Uses each filter with its mean taken away and its length fixed, so that no batch is looked at.

    W'_o = scale_o * (W_o - mean_o) / sqrt(n / gain^2 * var_o + epsilon),   n weights into the output o

    Mean and variance are over all axes of a kernel but the last, and gradients pass through them. So the
    sum of W'_o is 0, its squared length gain^2 scale_o^2, and the length of W_o itself is free.

    Args:
        gain: `he` sqrt(2); `unit` 1, for a first layer on standardised input; `centred`
            sqrt(2 / (1 - 1/pi)) = 1.713, which keeps the variance from ReLU layer to ReLU layer. With `he` it
            falls by 1 - 1/pi at each, for a filter of mean zero does not pass on the mean of its input.
        epsilon: added to the scaled variance, inside the root; 0 or more. At 0 a filter of equal weights is
            undefined.

    Returns:
        A norm of the kernel, with the variable `scale` [output], 1 at first; the convolution keeps its bias.
        It is an error to make one for a kernel with one weight an output.

    Raises:
        PwactError: another gain, an epsilon below 0.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from pwact.nn.norms import weight_align
        >>> kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 2))
        >>> aligned = weight_align().kernel(kernel.shape, nnx.Rngs(0))(kernel)
        >>> (aligned**2).sum((0, 1, 2)).round(3).tolist()
        [2.0, 2.0]

    Reference: X. Shi, Y. Li, X. Liu, J. van Gemert, WeightAlign: normalizing activations by weight
        alignment, ICPR 2020, arXiv 2010.07160. Status: abstract (mean and scaled deviation within a filter;
        the learnt scale is from a summary by others, the factor n/2 is ours, from He's rule; `centred` is the
        gain of A. Brock, S. De, S. L. Smith, arXiv 2101.08692).
    """
    if gain not in GAINS:
        raise PwactError(f"gain as one of: {', '.join(GAINS)}", repr(gain), nearest(str(gain), GAINS))
    epsilon = finite_number("epsilon", epsilon, "give 0 or more")
    if epsilon < 0:
        raise PwactError("epsilon of 0 or more", repr(epsilon), "give 0 or more")
    return Norm(None, lambda shape, rngs: WeightAlign(shape, GAINS[gain], epsilon), True)


class WeightAlign(nnx.Module):
    """The module of `weight_align` for one kernel.

    Args:
        shape: of the kernel, outputs last: (row, column, in, out), (in, out), or of any other rank.
        gain: length of a filter.
        epsilon: added to the scaled variance.

    Raises:
        PwactError: one weight an output: its variance is always 0.
    """

    def __init__(self, shape: tuple[int, ...], gain: float, epsilon: float):
        self.fan_in = math.prod(shape[:-1])
        if self.fan_in < 2:
            raise PwactError(
                "two weights or more into each output for weight_align",
                f"a kernel of shape {shape}",
                "use a larger kernel or another norm in this layer",
            )
        self.scale = nnx.Param(jnp.ones(shape[-1], jnp.float32))
        self.gain, self.epsilon = gain, epsilon

    def __call__(self, kernel: Float[Array, "*weights output"]) -> Float[Array, "*weights output"]:
        # In bfloat16 means and squares would lose what they are taken for.
        wide = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
        axes = tuple(range(kernel.ndim - 1))
        centred = wide - wide.mean(axes, keepdims=True)
        square = jnp.square(centred).mean(axes, keepdims=True)
        scale = self.scale[...].reshape((1,) * len(axes) + (-1,))
        root = jax.lax.rsqrt(self.fan_in / self.gain**2 * square + self.epsilon)
        return (scale * centred * root).astype(kernel.dtype)
