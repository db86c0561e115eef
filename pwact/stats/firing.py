"""How often every point is active, which never is, and which always."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.counter import Counter
from pwact.types import Observation


class FiringState(NamedTuple):
    """Images seen, and at every point those above the threshold."""

    images: Counter
    fired: Counter


@memoized
def firing(threshold: float = 0.0) -> Accumulator:
    """The share of images whose activation is above a threshold, at every point; dead and always-on points.

    share = #{i : x_i > threshold} / n;   dead: none of the n fires;   always_on: each of them does

    `dead.mean()` and `always_on.mean()` of a result are the shares of such points at a site. That a point is
    one of these is decided on exact counts, also where the share rounds to 0 or 1.

    Args:
        threshold: in the activation's own unit; equal to it does not fire.

    Returns:
        An accumulator with results `count` (int64, images), `share` (0 to 1; the quotient of two
        exact counts, to 2 ulp of float32), `dead` and `always_on` (bool). Nothing seen: count 0, share NaN,
        neither dead nor always on.

    Raises:
        PwactError: a threshold that is no finite number; (by `init`) the activation is not of
            floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import firing
        >>> from pwact.types import Observation
        >>> acc = firing()
        >>> x, zero = jnp.array([[0.0], [0.5], [2.0], [-1.0]]), jnp.zeros(4, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(4), jnp.ones(4, bool)))
        >>> acc.finalize(state)["share"].values.tolist()
        [0.5]

    Source: ours; a plain frequency. Dead units as in Maas, Hannun, Ng, "Rectifier nonlinearities improve
        neural network acoustic models" (ICML 2013), who count hidden units of activation 0.
    """

    threshold = finite_number("threshold", threshold, "give it in the activation's own unit")

    def init(spec: jax.ShapeDtypeStruct) -> FiringState:
        float_dtype(spec)
        return FiringState(Counter.zeros(), Counter.zeros(spec.shape))

    def update(state: FiringState, seen: Observation) -> FiringState:
        fires = (seen.activation > threshold) & per_image(seen.valid, seen.activation)
        return FiringState(
            state.images.add(seen.valid.sum(dtype=jnp.uint32)),
            state.fired.add(fires.sum(0, dtype=jnp.uint32)),
        )

    def merge(left: FiringState, right: FiringState) -> FiringState:
        return FiringState(left.images.merge(right.images), left.fired.merge(right.fired))

    def finalize(state: FiringState) -> Result:
        n = state.images.to_float()
        share = state.fired.to_float() / jnp.maximum(n, 1)
        dims, fired = point_dims(share.ndim), state.fired
        always_on = (fired.high == state.images.high) & (fired.low == state.images.low)
        return {
            "count": Named(state.images, ()),
            "share": Named(jnp.where(n > 0, share, jnp.nan), dims),
            "dead": Named((n > 0) & (fired.high == 0) & (fired.low == 0), dims),
            "always_on": Named((n > 0) & always_on, dims),
        }

    return Accumulator(init, in_blocks(update), merge, finalize, channelwise=True)
