"""How much of a map is active at a time."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, float_dtype
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.stats.moments import MomentsState, moments
from pwact.types import Observation


@memoized
def density(threshold: float = 0.0) -> Accumulator:
    """The share of an image's points that are above a threshold: mean and variance over images.

    density_i = #{points p : x_ip > threshold} / P;   mean = sum_i density_i / n

    Every image has the same P points, so `mean` is also the share of active points of all images together,
    and that of `firing`'s `share` over points. `per_channel(density())` is the share of active channels at a
    position. The points of an image are counted exactly (P below 2^31); `mean` and `variance` have the
    errors that `moments` states.

    Args:
        threshold: in the activation's own unit; equal to it is not active.

    Returns:
        An accumulator with results `count` (int64, images), `mean` (0 to 1) and `variance` over images.
        Nothing seen: count 0, the others NaN.

    Raises:
        PwactError: a threshold that is no finite number; (by `init`) the activation is not of
            floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import density
        >>> from pwact.types import Observation
        >>> acc = density()
        >>> x, zero = jnp.array([[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 2.0, 3.0]]), jnp.zeros(2, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((4,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(2), jnp.ones(2, bool)))
        >>> {name: float(value.values) for name, value in acc.finalize(state).items() if name != "count"}
        {'mean': 0.5, 'variance': 0.0625}

    Reference: density (its complement is called activation sparsity) as in Glorot, Bordes, Bengio, "Deep
        sparse rectifier neural networks" (AISTATS 2011). Reconstructed from the formula.
    """
    threshold = finite_number("threshold", threshold, "give it in the activation's own unit")
    over_images = moments()

    def init(spec: jax.ShapeDtypeStruct) -> MomentsState:
        return over_images.init(jax.ShapeDtypeStruct((), float_dtype(spec)))

    def update(state: MomentsState, seen: Observation) -> MomentsState:
        x = seen.activation
        active = (x > threshold).sum(range(1, x.ndim), dtype=jnp.int32)
        share = active.astype(state.mean.sum.dtype) / math.prod(x.shape[1:])
        return over_images.update(state, seen._replace(activation=share, gradient=None))

    return over_images._replace(init=init, update=update, channelwise=False)
