"""Networks built by hand whose answers are known: they check the instrument, no training involved.

All are functions `(variables, image) -> logits` with one site, `points`, for a probe to find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from pwact.errors import PwactError

SITE = "points"
SIZE = 8
CHANNELS = 4
CLASSES = 4

Logits = Float[Array, "batch class"]
Image = Float[Array, "batch row column channel"]


class Planted(NamedTuple):
    """A network built by hand: the function, its variables, and what it does in words."""

    function: Callable[[Any, Image], Logits]
    variables: Any
    words: str


def images(count: int, seed: int) -> Float[np.ndarray, "image row column channel"]:
    """Standard normal pixels [count, 8, 8, 4], float32: no point tells anything about another."""
    shape = (count, SIZE, SIZE, CHANNELS)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def noisy(decisions: Int[np.ndarray, "seed image"], share: float, seed: int) -> Int[np.ndarray, "seed image"]:
    """Decisions as labels, some of them drawn anew from all classes.

    Args:
        decisions: of planted networks.
        share: of the images whose label is drawn anew.
        seed: of the choice and the labels.

    Returns:
        Labels on which the networks' accuracy is `1 - share (1 - 1/K)` in expectation.

    Example:
        >>> noisy(np.array([[0, 1, 2, 3]]), 0.0, seed=0)
        array([[0, 1, 2, 3]])
    """
    rng = np.random.default_rng(seed)
    anew = rng.random(decisions.shape) < share
    return np.where(anew, rng.integers(0, CLASSES, decisions.shape), decisions)


def sums_scores(seed: int) -> Planted:
    """Sums per-point scores, so the decision is one of a bag of point vectors.

    `z_k = mean_p sum_j relu(v_kj . a_p)`: the score mixes the channels of one point beyond a sum, so
    joint permutations change nothing (AII_s = 1) and permutations of single channels do.

    Args:
        seed: of the score vectors.

    Returns:
        The network.
    """
    vectors = np.random.default_rng(seed).standard_normal((CHANNELS, CLASSES, 3)).astype(np.float32)
    # Vectors of one length score alike on average, so that every class is decided for.
    vectors /= np.linalg.norm(vectors, axis=0)

    def function(variables: Any, image: Image) -> Logits:
        points = checkpoint_name(image, SITE)
        return jax.nn.relu(jnp.tensordot(points, variables, 1)).sum(-1).mean((1, 2))

    return Planted(function, jnp.asarray(vectors), "sums a score of each point vector")


def adds_channels(seed: int) -> Planted:
    """Adds up every channel over all points and reads the sums, so even torn-apart points change nothing.

    `z_k = mean_p v_k . a_p`: AII_s = AII_i = 1.

    Args:
        seed: of the class vectors.

    Returns:
        The network.
    """
    vectors = np.random.default_rng(seed).standard_normal((CHANNELS, CLASSES))

    def function(variables: Any, image: Image) -> Logits:
        return checkpoint_name(image, SITE).mean((1, 2)) @ variables

    return Planted(function, jnp.asarray(vectors, jnp.float32), "adds up each channel over all points")


def reads_arrangement(seed: int) -> Planted:
    """Compares the points with class templates over positions, so only arrangement counts.

    `z_k = sum_p T_kp (v . a_p)` with templates of +1 and -1 that are balanced and orthogonal: for
    pixels that do not depend on one another every order of the points is as likely to give any class,
    so AII_s = 0 in expectation.

    Args:
        seed: of the direction and the choice of templates.

    Returns:
        The network.
    """
    rng = np.random.default_rng(seed)
    rows = 1 + rng.choice(SIZE * SIZE - 1, CLASSES, replace=False)
    templates = scipy.linalg.hadamard(SIZE * SIZE)[rows].reshape(CLASSES, SIZE, SIZE)
    direction = rng.standard_normal(CHANNELS)
    variables = tuple(jnp.asarray(each, jnp.float32) for each in (templates, direction))

    def function(variables: Any, image: Image) -> Logits:
        templates, direction = variables
        return jnp.einsum("brcd,d,krc->bk", checkpoint_name(image, SITE), direction, templates)

    return Planted(function, variables, "compares the points with templates over positions")


def reads_one_position(seed: int) -> Planted:
    """Reads the point at one fixed place and ignores the others.

    After a random order that place holds its own point with chance 1/P and otherwise one that tells
    nothing about it, so AII_s = 1/P in expectation.

    Args:
        seed: of the place and the score vectors.

    Returns:
        The network.
    """
    rng = np.random.default_rng(seed)
    row, column = (int(each) for each in rng.integers(0, SIZE, 2))
    vectors = jnp.asarray(rng.standard_normal((CHANNELS, CLASSES)), jnp.float32)

    def function(variables: Any, image: Image) -> Logits:
        return checkpoint_name(image, SITE)[:, row, column] @ variables

    return Planted(function, vectors, "reads the point at one fixed place")


def contributes_at(points: int, seed: int) -> Planted:
    """Lets exactly `points` points of the last map contribute, all alike; average pooling, linear head.

    The map holds the image's mean colour (shifted to be positive) at the chosen points and 0 elsewhere,
    so among P points the positive contributions are `points` equal numbers and zeros: Gini = 1 - k/P,
    Hoyer = (sqrt P - sqrt k)/(sqrt P - 1), k90 = ceil(0.9 k).

    Args:
        points: k, in 1 .. 64.
        seed: of the chosen points and the head.

    Returns:
        The network; its variables are {"mask", "head": {"kernel", "bias"}}.

    Raises:
        PwactError: k outside 1 .. 64.
    """
    total = SIZE * SIZE
    if not 1 <= points <= total:
        raise PwactError(f"points in 1 .. {total}", f"{points}", "choose fewer")
    rng = np.random.default_rng(seed)
    mask = np.zeros(total, np.float32)
    mask[rng.choice(total, points, replace=False)] = 1.0
    kernel = jnp.asarray(rng.standard_normal((CHANNELS, CLASSES)), jnp.float32)
    variables = {
        "mask": jnp.asarray(mask.reshape(1, SIZE, SIZE, 1)),
        "head": {"kernel": kernel, "bias": jnp.zeros(CLASSES)},
    }
    return Planted(
        _masked_colour, variables, f"lets exactly {points} of {total} points contribute, all alike"
    )


def _masked_colour(variables: Any, image: Image) -> Logits:
    colour = jax.nn.softplus(8.0 * image.mean((1, 2), keepdims=True))
    last = checkpoint_name(variables["mask"] * colour, SITE)
    return last.mean((1, 2)) @ variables["head"]["kernel"] + variables["head"]["bias"][None]
