"""Orders of the points of a map, and the two that a metric must beat: random, and a contiguous blob."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def top_points(score: Float[Array, "batch row column"], count: int) -> Bool[Array, "batch row column"]:
    """Mask of the `count` points with the highest score; equal scores go by place.

    Args:
        score: one number a point.
        count: how many points.

    Returns:
        A mask with exactly `count` points set in every image.

    Example:
        >>> top_points(jnp.array([[[3.0, 1.0], [2.0, 0.0]]]), 2).tolist()
        [[[True, False], [True, False]]]
    """
    batch = score.shape[0]
    order = jnp.argsort(-score.reshape(batch, -1), axis=1)
    chosen = jnp.arange(order.shape[1]) < count
    mask = jax.vmap(lambda places: jnp.zeros(places.shape, bool).at[places].set(chosen))(order)
    return mask.reshape(score.shape)


def random_order(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "batch row column"]:
    """Scores in uniformly random order.

    Args:
        key: random key.
        shape: (batch, row, column).

    Returns:
        A score a point.
    """
    return jax.random.uniform(key, shape)


def blob_order(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "batch row column"]:
    """Scores that grow a blob: minus the squared distance to a point drawn uniformly in each image.

    Args:
        key: random key.
        shape: (batch, row, column).

    Returns:
        A score a point; the points with the highest are a disc around the drawn one, as far as the
        border allows.
    """
    batch, rows, columns = shape
    row, column = jax.random.split(key)
    centre_row = jax.random.randint(row, (batch, 1, 1), 0, rows)
    centre_column = jax.random.randint(column, (batch, 1, 1), 0, columns)
    down = (jnp.arange(rows)[None, :, None] - centre_row) ** 2
    across = (jnp.arange(columns)[None, None, :] - centre_column) ** 2
    return -(down + across).astype(jnp.float32)
