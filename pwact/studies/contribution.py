"""What each point of the last map adds to the margin under a GAP head, and how concentrated that is."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Contributions(NamedTuple):
    """The margin of one decision, point by point.

    Args:
        point: c_p = (w_y^ - w_c*) . a_p / P.
        bias: b_y^ - b_c*.
        margin: z_y^ - z_c*, from the logits.
        decision: y^; `runner_up`: c*, the class with the next highest logit.
        error: |sum_p c_p + bias - margin| as a share of the sum of the sizes of all terms.
    """

    point: Float[Array, "batch row column"]
    bias: Float[Array, " batch"]
    margin: Float[Array, " batch"]
    decision: Int[Array, " batch"]
    runner_up: Int[Array, " batch"]
    error: Float[Array, " batch"]


def contributions(
    last: Float[Array, "batch row column channel"],
    logits: Float[Array, "batch class"],
    kernel: Float[Array, "channel class"],
    bias: Float[Array, " class"],
) -> Contributions:
    """Split the margin over the points of the map that a GAP head averages.

    Args:
        last: the last map, whose mean over points enters the linear head.
        logits: what the network gave.
        kernel: the head's weights.
        bias: the head's biases.

    Returns:
        The parts; an `error` beyond rounding says that this map and head did not make these logits.

    Example:
        >>> last = jnp.array([[[[1.0], [3.0]]]])
        >>> kernel, bias = jnp.array([[1.0, 0.0]]), jnp.array([0.5, 0.0])
        >>> c = contributions(last, last.mean((1, 2)) @ kernel + bias[None], kernel, bias)
        >>> c.point.tolist(), c.bias.tolist(), c.margin.tolist()
        ([[[0.5, 1.5]]], [0.5], [2.5])
    """
    points = last.shape[1] * last.shape[2]
    values, classes = jax.lax.top_k(logits, 2)
    decision, runner_up = classes[:, 0], classes[:, 1]
    weight = kernel.T[decision] - kernel.T[runner_up]
    point = jnp.einsum("brcd,bd->brc", last, weight) / points
    offset = bias[decision] - bias[runner_up]
    margin = values[:, 0] - values[:, 1]
    terms = jnp.abs(last).mean((1, 2)) * (jnp.abs(kernel.T[decision]) + jnp.abs(kernel.T[runner_up]))
    size = terms.sum(1) + jnp.abs(bias[decision]) + jnp.abs(bias[runner_up])
    gap = jnp.abs(point.sum((1, 2)) + offset - margin)
    error = jnp.where(size > 0, gap / jnp.where(size > 0, size, 1.0), 0.0)
    return Contributions(point, offset, margin, decision, runner_up, error)


def lorenz(positive: Float[Array, "batch point"]) -> Float[Array, "batch share"]:
    """Lorenz curve of non-negative numbers: share of the sum held by the smallest 0, 1, ... P of them.

    Args:
        positive: non-negative numbers.

    Returns:
        P + 1 values from 0 to 1; NaN where all numbers are 0.

    Example:
        >>> lorenz(jnp.array([[3.0, 1.0]])).tolist()
        [[0.0, 0.25, 1.0]]
    """
    total = positive.sum(1, keepdims=True)
    held = jnp.cumsum(jnp.sort(positive, axis=1), axis=1)
    start = jnp.zeros((positive.shape[0], 1), positive.dtype)
    return jnp.concatenate([start, held], 1) / jnp.where(total > 0, total, jnp.nan)


def gini(positive: Float[Array, "batch point"]) -> Float[Array, " batch"]:
    """Gini index: 0 when all points share alike, 1 - 1/P when one point holds everything.

    `G = sum_i (2 i - P - 1) x_(i) / (P sum x)` over the ascending order x_(1) ... x_(P).

    Args:
        positive: non-negative numbers.

    Returns:
        One index a row; NaN where all numbers are 0.

    Example:
        >>> gini(jnp.array([[0.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
        [0.75, 0.0]
    """
    points = positive.shape[1]
    total = positive.sum(1)
    rank = 2.0 * jnp.arange(1, points + 1) - points - 1
    return jnp.sort(positive, axis=1) @ rank / (points * jnp.where(total > 0, total, jnp.nan))


def hoyer(positive: Float[Array, "batch point"]) -> Float[Array, " batch"]:
    """Hoyer sparsity: 0 when all points share alike, 1 when one point holds everything.

    `(sqrt P - |x|_1 / |x|_2) / (sqrt P - 1)` (Hoyer, JMLR 2004).

    Args:
        positive: non-negative numbers of at least two points.

    Returns:
        One value a row; NaN where all numbers are 0.

    Example:
        >>> hoyer(jnp.array([[0.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
        [1.0, 0.0]
    """
    root = jnp.sqrt(float(positive.shape[1]))
    length = jnp.sqrt((positive**2).sum(1))
    return (root - positive.sum(1) / jnp.where(length > 0, length, jnp.nan)) / (root - 1)


def k90(positive: Float[Array, "batch point"]) -> Float[Array, " batch"]:
    """Least share of the points whose sum reaches 90 % of the total, as k90 / P.

    Args:
        positive: non-negative numbers.

    Returns:
        One value a row in (0, 1]; NaN where all numbers are 0.

    Example:
        >>> k90(jnp.array([[0.0, 5.0, 5.0, 0.0]])).tolist()
        [0.5]
    """
    points = positive.shape[1]
    total = positive.sum(1, keepdims=True)
    held = jnp.cumsum(-jnp.sort(-positive, axis=1), axis=1)
    # A sum that reaches the share exactly may miss it by rounding.
    short = held < 0.9 * total * (1 - 1e-6)
    count = short.sum(1) + 1
    return jnp.where(total[:, 0] > 0, count / points, jnp.nan)
