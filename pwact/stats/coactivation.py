"""How often two channels fire at the same point."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pwact.core.accumulator import Accumulator, Named, Result, per_image, point_dims
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.positions import as_samples, known_positions, sample_shape
from pwact.types import Observation

EXACT = 2**24
"""The largest count up to which float32 holds every whole number."""


class CoactivationState(NamedTuple):
    """Samples seen, and for every two channels those in which both fire; a channel's own on the diagonal."""

    samples: Counter
    both: Counter


@memoized
def coactivation(threshold: float = 0.0, *, positions: str = "pooled") -> Accumulator:
    """How often every two channels are above a threshold together, among when either of them is (Jaccard).

    jaccard_jk = #{i : x_ij > t and x_ik > t} / #{i : x_ij > t or x_ik > t}

    Args:
        threshold: t, in the activation's own unit; equal to it does not fire.
        positions: "pooled": every position of every image is a sample; "each": a matrix at each position,
            over images.

    Returns:
        An accumulator with results `count` (int64, samples), `both` (int64, exact: samples in which both
        fire, a channel's own on the diagonal) and `jaccard` (0 to 1; computed from exact counts, to 8
        units of 2^-24), [channel, other_channel], with `row` and `column` in front for "each" position of
        maps. Where neither channel ever fires `jaccard` is NaN.

    Raises:
        PwactError: a threshold that is no finite number, positions that are neither; (by `init`) the
            activation is neither a map nor a vector, or not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import coactivation
        >>> from pwact.types import Observation
        >>> acc = coactivation()
        >>> x, zero = jnp.array([[1.0, 2.0], [1.0, 0.0], [-1.0, -1.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((2,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool)))
        >>> acc.finalize(state)["jaccard"].values.tolist()
        [[1.0, 0.5], [0.5, 1.0]]

    Source: ours; the coefficient of Jaccard (1901).
    """
    threshold = finite_number("threshold", threshold, "give it in the activation's own unit")
    positions = known_positions(positions, ("pooled", "each"))

    def init(spec: jax.ShapeDtypeStruct) -> CoactivationState:
        shape = sample_shape(spec, positions, "coactivation")
        return CoactivationState(Counter.zeros(), Counter.zeros((*shape, shape[-1])))

    def update(state: CoactivationState, seen: Observation) -> CoactivationState:
        fires = as_samples((seen.activation > threshold) & per_image(seen.valid, seen.activation), positions)
        samples = seen.valid.sum(dtype=jnp.uint32) * fires.shape[1]
        both = state.both
        for part in _parts(fires):
            together = jnp.einsum("n...i,n...j->...ij", part, part, precision=jax.lax.Precision.HIGHEST)
            both = both.add(together.astype(jnp.uint32))
        return CoactivationState(state.samples.add(samples), both)

    def merge(left: CoactivationState, right: CoactivationState) -> CoactivationState:
        return CoactivationState(left.samples.merge(right.samples), left.both.merge(right.both))

    def finalize(state: CoactivationState) -> Result:
        both = state.both.to_float()
        fired = jnp.diagonal(both, axis1=-2, axis2=-1)
        either = fired[..., :, None] + fired[..., None, :] - both
        dims = (*point_dims(fired.ndim), "other_channel")
        return {
            "count": Named(state.samples, ()),
            "both": Named(state.both, dims),
            "jaccard": Named(jnp.where(either > 0, both / jnp.maximum(either, 1), jnp.nan), dims),
        }

    # A matrix at each position is more to walk than the rows are.
    blockwise = in_blocks(update) if positions == "pooled" else update
    return Accumulator(init, blockwise, merge, finalize)


def _parts(fires: Array) -> list[Array]:
    """The samples as zeros and ones, so few at once that a float32 counts them exactly."""
    samples = fires.reshape(-1, *fires.shape[2:]).astype(jnp.float32)
    return [samples[start : start + EXACT] for start in range(0, len(samples), EXACT)]
