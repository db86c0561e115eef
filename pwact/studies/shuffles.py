"""Random orders of the points of a map: all channels of a point together, or each channel on its own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

Map = Float[Array, "batch row column channel"]


def joint(key: PRNGKeyArray, activation: Map) -> Map:
    """Permute the point vectors of each image: the bag of point vectors stays, its arrangement goes.

    Args:
        key: random key; every image gets its own order.
        activation: maps.

    Returns:
        Maps of the same shape.

    Example:
        >>> a = jnp.arange(6.0).reshape(1, 1, 3, 2)
        >>> sorted(joint(jax.random.key(0), a)[0, 0].tolist())
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    return take(activation, point_orders(key, activation.shape))


def point_orders(key: PRNGKeyArray, shape: tuple[int, ...]) -> Int[Array, "batch point 1"]:
    """Uniformly random orders of the points, one an image."""
    batch, rows, columns, _ = shape
    return jnp.argsort(jax.random.uniform(key, (batch, rows * columns, 1)), axis=1)


def channel_orders(key: PRNGKeyArray, shape: tuple[int, ...]) -> Int[Array, "batch point channel"]:
    """Uniformly random orders of the points, one an image and channel."""
    batch, rows, columns, channels = shape
    return jnp.argsort(jax.random.uniform(key, (batch, rows * columns, channels)), axis=1)


def take(activation: Map, orders: Int[Array, "batch point #channel"]) -> Map:
    """The map with its points in the given order.

    Args:
        activation: maps.
        orders: for each image, and for each channel or for all together, the point that comes to each place.

    Returns:
        Maps of the same shape.
    """
    batch, rows, columns, channels = activation.shape
    points = activation.reshape(batch, rows * columns, channels)
    whole = jnp.broadcast_to(orders, points.shape)
    return jnp.take_along_axis(points, whole, axis=1).reshape(activation.shape)


def rotation(key: PRNGKeyArray, channels: int) -> Float[Array, "{channels} {channels}"]:
    """A uniformly random orthogonal matrix: another basis for the channels of a point.

    Args:
        key: random key.
        channels: size.

    Returns:
        R with `R R^T = 1`.

    Example:
        >>> r = rotation(jax.random.key(0), 3)
        >>> bool(jnp.allclose(r @ r.T, jnp.eye(3), atol=1e-6))
        True
    """
    return jax.random.orthogonal(key, channels)
