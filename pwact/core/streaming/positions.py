"""What a sample is, for statistics that relate channels to one another."""

from __future__ import annotations

import math
from typing import Any

import jax
from jaxtyping import Array, Shaped

from pwact.core.accumulator import float_dtype
from pwact.core.combinators import need_channels
from pwact.errors import PwactError

MEANING = {
    "pooled": "every position of every image is a sample of its channels",
    "each": "an image is a sample at each position on its own",
    "mean": "an image is a sample of its channels' means over positions",
    "flat": "an image is a sample of all its points",
}
MOST_FEATURES = 8192
"""Of flat maps: a matrix of their products is a quarter of a GiB then."""


def known_positions(value: Any, choices: tuple[str, ...]) -> str:
    """`value`, once it is one of `choices`.

    Example:
        >>> known_positions("all", ("pooled", "each"))
        Traceback (most recent call last):
        pwact.errors.PwactError: expected positions as one of: pooled, each; found 'all'; write ...
    """
    if value not in choices:
        told = "; ".join(f"positions='{choice}': {MEANING[choice]}" for choice in choices)
        raise PwactError(f"positions as one of: {', '.join(choices)}", repr(value), f"write {told}")
    return value


def sample_shape(spec: jax.ShapeDtypeStruct, positions: str, who: str) -> tuple[int, ...]:
    """Shape of one sample: the channels behind the axes along which a statistic is taken on its own.

    Raises:
        PwactError: an activation that is neither a map nor a vector, is not of floating-point numbers, or
            has too many points for `flat`.

    Example:
        >>> import jax
        >>> spec = jax.ShapeDtypeStruct((4, 5, 3), "float32")
        >>> [sample_shape(spec, positions, "me") for positions in ("pooled", "each", "mean", "flat")]
        [(3,), (4, 5, 3), (3,), (60,)]
    """
    need_channels(spec, who)
    float_dtype(spec)
    if positions == "each":
        return spec.shape
    if positions != "flat":
        return spec.shape[-1:]
    points = math.prod(spec.shape)
    if points > MOST_FEATURES:
        raise PwactError(
            f"at most {MOST_FEATURES} points for {who}(positions='flat')",
            f"{points}, in an activation of shape {list(spec.shape)}",
            "write positions='mean', or positions='pooled' where both maps have the same positions",
        )
    return (points,)


def pair_shapes(
    specs: tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct], positions: str, who: str
) -> tuple[tuple[int, ...], ...]:
    """`sample_shape` of two activations.

    Raises:
        PwactError: theirs, or two whose positions are compared but do not match.
    """
    shapes = tuple(sample_shape(spec, positions, who) for spec in specs)
    places = {spec.shape[:-1] for spec in specs}
    if positions in ("pooled", "each") and len(places) > 1:
        raise PwactError(
            f"two activations with the same rows and columns for {who}(positions='{positions}')",
            f"shapes {' and '.join(str(list(spec.shape)) for spec in specs)}",
            "write positions='mean', or choose sites of the same size",
        )
    return shapes


def as_samples(
    activation: Shaped[Array, "batch ..."], positions: str
) -> Shaped[Array, "batch position ... channel"]:
    """An activation [batch, ..., channel] with one axis of what each image has of samples, or a mean over.

    Example:
        >>> import jax.numpy as jnp
        >>> [as_samples(jnp.ones((2, 4, 5, 3)), how).shape for how in ("pooled", "each", "mean", "flat")]
        [(2, 20, 3), (2, 1, 4, 5, 3), (2, 20, 3), (2, 1, 60)]
    """
    images, channels = activation.shape[0], activation.shape[-1]
    if positions in ("pooled", "mean"):
        return activation.reshape(images, -1, channels)
    return (activation.reshape(images, -1) if positions == "flat" else activation)[:, None]
