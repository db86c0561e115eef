"""Whether an image activates few points or many alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.sparsity import sparsities
from pwact.errors import PwactError
from pwact.stats.moments import MomentsState, moments
from pwact.types import Observation


class PopulationState(NamedTuple):
    """Images without any activity, and the moments of the measures of the others."""

    silent: Counter
    measures: MomentsState


@memoized
def population_sparsity() -> Accumulator:
    """Treves-Rolls and Hoyer sparsity of every image over its P points: mean and variance over images.

    treves_rolls_i = (1 - (sum_p |x_ip| / P)^2 / (sum_p x_ip^2 / P)) / (1 - 1 / P)
    hoyer_i        = (sqrt(P) - sum_p |x_ip| / sqrt(sum_p x_ip^2)) / (sqrt(P) - 1)

    0 if all points are alike active, 1 if one is alone. An image that activates nothing has no sparsity; it
    is counted as silent. `per_channel(population_sparsity())` takes the channels at each position as the
    population, and each position as a sample.

    An image is measured in units of its largest activation, by mean and variance over points as
    `lifetime_sparsity` does over images. Means are taken axis after axis, so each measure's relative error is
    at most 4 (rows + columns + channels + 8) u with u = 2^-24; those of the moments over images add up to it.

    Returns:
        An accumulator with results `count` and `silent` (int64; images measured, and images without
        activity), `treves_rolls.mean`, `treves_rolls.variance`, `hoyer.mean` and `hoyer.variance`.
        Nothing measured: NaN.

    Raises:
        PwactError: (by `init`) fewer than two points, or the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import population_sparsity
        >>> from pwact.types import Observation
        >>> acc = population_sparsity()
        >>> x, zero = jnp.array([[0.0, 7.0], [1.0, 1.0], [0.0, 0.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((2,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool)))
        >>> float(acc.finalize(state)["treves_rolls.mean"].values)
        0.5

    Reference: as `lifetime_sparsity`; population sparsity after Willmore and Tolhurst, "Characterizing the
        sparseness of neural codes", Network 12 (2001). Reconstructed from the formulas.
    """
    return over_images(("treves_rolls", "hoyer"), _measures)


def _measures(size: Float[Array, "batch ..."]) -> list[Float[Array, " batch"]]:
    mean = mean_of_points(size)
    variance = mean_of_points((size - per_image(mean, size)) ** 2)
    return list(sparsities(variance / mean**2, math.prod(size.shape[1:])).values())


def over_images(names: tuple[str, ...], measures: Callable[[Array], list[Array]]) -> Accumulator:
    """Mean and variance, over images that activate anything, of measures of an image's |x| / max |x|.

    Args:
        names: of the measures.
        measures: sizes [batch, ...], the largest of each image 1 -> a list of [batch], one a name.
    """
    moments_of_measures = moments()

    def init(spec: jax.ShapeDtypeStruct) -> PopulationState:
        if math.prod(spec.shape) < 2:
            raise PwactError(
                "two points or more, for sparsity to be of something",
                f"an activation of shape {list(spec.shape)}",
                "choose another site, or the sparsity over images: lifetime_sparsity()",
            )
        measured = jax.ShapeDtypeStruct((len(names),), float_dtype(spec))
        return PopulationState(Counter.zeros(), moments_of_measures.init(measured))

    def update(state: PopulationState, seen: Observation) -> PopulationState:
        size = jnp.abs(seen.activation.astype(state.measures.mean.sum.dtype))
        largest = size.max(range(1, size.ndim))
        active = seen.valid & (largest > 0)
        size = jnp.where(per_image(active, size), size / per_image(largest, size), 1)
        own = seen._replace(activation=jnp.stack(measures(size), -1), valid=active, gradient=None)
        silent = (seen.valid & ~active).sum(dtype=jnp.uint32)
        return PopulationState(state.silent.add(silent), moments_of_measures.update(state.measures, own))

    def merge(left: PopulationState, right: PopulationState) -> PopulationState:
        return PopulationState(
            left.silent.merge(right.silent), moments_of_measures.merge(left.measures, right.measures)
        )

    def finalize(state: PopulationState) -> Result:
        found = moments_of_measures.finalize(state.measures)
        each = {
            f"{name}.{moment}": Named(found[moment].values[number], ())
            for number, name in enumerate(names)
            for moment in ("mean", "variance")
        }
        return {"count": found["count"], "silent": Named(state.silent, ()), **each}

    return Accumulator(init, update, merge, finalize)


def mean_of_points(values: Float[Array, "batch ..."]) -> Float[Array, " batch"]:
    """The mean of each image's points, axis after axis: no sum is longer than an axis."""
    while values.ndim > 1:
        values = values.mean(-1)
    return values
