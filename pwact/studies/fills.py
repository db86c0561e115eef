"""Keeping some points of a map and filling the rest: Keep(M), two fills, and kappa."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def keep(
    activation: Float[Array, "batch row column channel"],
    mask: Bool[Array, "batch row column"],
    fill: Float[Array, "batch row column channel"],
) -> Float[Array, "batch row column channel"]:
    """The map with every point vector outside the mask replaced: `M A + (1 - M) fill`.

    Args:
        activation: the map A.
        mask: the points M that stay, with all their channels.
        fill: what takes the place of the others: `mean_fill` or `other_image_fill`.

    Returns:
        The map that the network above the layer is given.

    Example:
        >>> a, mask = jnp.ones((1, 1, 2, 3)), jnp.array([[[True, False]]])
        >>> keep(a, mask, jnp.zeros_like(a))[0, 0, :, 0].tolist()
        [1.0, 0.0]
    """
    return jnp.where(mask[..., None], activation, fill)


def mean_fill(
    mean: Float[Array, " channel"], activation: Float[Array, "batch row column channel"]
) -> Float[Array, "batch row column channel"]:
    """The dataset mean mu_l of every channel, at every point.

    Args:
        mean: mean of each channel over the dataset's images and points.
        activation: the map to fill.

    Returns:
        A map of the activation's shape.

    Example:
        >>> mean_fill(jnp.array([1.0, 2.0]), jnp.zeros((1, 1, 2, 2)))[0, 0].tolist()
        [[1.0, 2.0], [1.0, 2.0]]
    """
    return jnp.broadcast_to(mean[None, None, None], activation.shape).astype(activation.dtype)


def other_image_fill(
    key: PRNGKeyArray, activation: Float[Array, "batch row column channel"]
) -> Float[Array, "batch row column channel"]:
    """For each image the points of another image of the batch, at the same places.

    The batch is put on a random cycle and each image takes its successor's map, so none gets its own
    (a batch of one image has no other).

    Args:
        key: random key.
        activation: maps of at least two images.

    Returns:
        A map of the activation's shape.

    Example:
        >>> a = jnp.arange(3.0).reshape(3, 1, 1, 1)
        >>> bool((other_image_fill(jax.random.key(0), a) == a).any())
        False
    """
    return activation[cycle(key, activation.shape[0])]


def cycle(key: PRNGKeyArray, count: int) -> Int[Array, " {count}"]:
    """Each index's successor on a uniformly random cycle through all of them.

    Example:
        >>> sorted(cycle(jax.random.key(0), 4).tolist())
        [0, 1, 2, 3]
    """
    order = jax.random.permutation(key, count)
    return jnp.zeros(count, jnp.int32).at[order].set(jnp.roll(order, -1))


def kappa(agreement: float | np.ndarray, nothing_kept: float | np.ndarray) -> np.ndarray:
    """Agreement above what remains with nothing kept: `(P[Keep(M) = y^] - a0) / (1 - a0)`.

    Args:
        agreement: share of images whose decision is reproduced from the kept points.
        nothing_kept: a0, the same share with every point filled.

    Returns:
        1 where every decision is reproduced, 0 where keeping does no better than nothing, NaN where
        nothing kept already reproduces every decision.

    Example:
        >>> float(kappa(0.75, 0.5))
        0.5
    """
    kept, nothing = np.broadcast_arrays(np.asarray(agreement, float), np.asarray(nothing_kept, float))
    free = 1.0 - nothing
    return np.divide(kept - nothing, free, out=np.full_like(free, np.nan), where=free > 0)
