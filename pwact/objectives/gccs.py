"""Each class of a batch as a Gaussian around its own vertex of a simplex."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pwact.core.arguments import finite_number, whole_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.objectives.objective import Objective


@memoized
def gccs(
    mean: float = 10.0,
    deviation: float = 1.0,
    kurtosis: float = 0.1,
    ramp: tuple[int, int] = (200, 400),
    covariance: Literal["diag", "full"] = "diag",
    minimum: int = 4,
    epsilon: float = 1e-4,
) -> Objective:
    """Pushes the outputs of each class to be a Gaussian N(mean * e_k, deviation^2 I) around vertex k.

    For the n_k valid rows of class k with mean m_k and covariance S_k (divided by n_k), and K classes,

        L_k = 1/2 [tr S_k / d^2 - K - log(|S_k + epsilon I| / d^2K) + |m_k - mean e_k|^2 / d^2]
              + w(step) * mean over j of (E(z_j - m_kj)^4 / (s_kj + epsilon)^2 - 3)^2

    which but for epsilon is the divergence KL(N(m_k, S_k) || target), and a penalty on tails that are not a
    Gaussian's. L is the mean of L_k over the classes with `minimum` rows or more. `diag` looks at the
    variances s_kj alone.

    It is no sum over images: a batch computed in parts is another loss. Batches need many images of each
    class: `Recipe(sampling="balanced")`, 16 or more a class. There is no softmax: the decision is the argmax,
    and the target's posterior, for calibration, is softmax(mean * z / deviation^2). Gradients of
    softmax(z) vanish at this size of z, so an attack on cross-entropy alone proves no robustness.

    Args:
        mean: distance of a vertex from the origin, in units of the outputs; above 0.
        deviation: d, the standard deviation that is aimed at; above 0.
        kurtosis: largest weight w of the kurtosis term; 0 or more.
        ramp: (begin, end) steps between which w rises linearly from 0; equal ones make it jump.
        covariance: `diag`, or `full`, for which a class needs more than K rows.
        minimum: rows that a class needs to count, 2 or more; classes with fewer are left out.
        epsilon: added to variances; above 0.

    Returns:
        An objective; nats, 0 where no class counts.

    Raises:
        PwactError: an argument out of range; (when traced) a batch in which no class could count.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.objectives import gccs
        >>> noise = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> z, y = jnp.array([[10.0, 0.0]]) + noise, jnp.zeros(4, jnp.int32)
        >>> loss = gccs(kurtosis=0.0).loss(z, y, jnp.ones(4, bool), jnp.int32(0))
        >>> abs(float(loss)) < 2e-4
        True

    Reference: A. Ali, A. Migliorati, T. Bianchi, E. Magli, Beyond cross-entropy: learning highly separable
        feature distributions for robust and accurate classification, arXiv 2010.15487. Status:
        reconstruction (the idea from the abstract; formulas and constants are ours).
    """
    mean = _positive("mean", mean)
    precision = _positive("deviation", deviation) ** -2
    epsilon = _positive("epsilon", epsilon)
    kurtosis = finite_number("kurtosis", kurtosis, "give the weight of the kurtosis term, or 0")
    if kurtosis < 0:
        raise PwactError(
            "kurtosis of 0 or more", repr(kurtosis), "give the weight of the kurtosis term, or 0"
        )
    begin, end = _steps(ramp)
    if covariance not in ("diag", "full"):
        raise PwactError("covariance as 'diag' or 'full'", repr(covariance), "pick one of these")
    minimum = whole_number("minimum", minimum, "a variance needs two rows", least=2)

    def loss(
        outputs: Float[Array, "batch class"],
        label: Int[Array, " batch"],
        valid: Bool[Array, " batch"],
        step: Int[Array, ""],
    ) -> Float[Array, ""]:
        batch, classes = outputs.shape
        needed = max(minimum, classes + 1) if covariance == "full" else minimum
        if batch < needed:
            raise PwactError(
                f"a batch of {needed} images of one class or more", f"{batch}", "use a larger batch_size"
            )
        member = jax.nn.one_hot(label, classes, dtype=outputs.dtype) * valid[:, None]
        count = member.sum(0)
        counts = count >= needed
        share = member / jnp.maximum(count, 1)[None]
        outputs = jnp.where(valid[:, None], outputs, 0)
        centre = _product(share.T, outputs)
        off = outputs - _product(member, centre)
        square = off * off
        # Classes that do not count are given the target's moments, where everything is finite.
        variance = jnp.where(counts[:, None], _product(share.T, square), 1 / precision)
        fourth = jnp.where(counts[:, None], _product(share.T, square * square), 3 / precision**2)
        if covariance == "full":
            spread = jnp.einsum("nk,ni,nj->kij", share, off, off, precision="highest")
            unit = jnp.eye(classes, dtype=outputs.dtype)[None]
            spread = jnp.where(counts[:, None, None], spread, unit / precision) + epsilon * unit
            root = jnp.linalg.cholesky(spread)
            logarithm = 2 * jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(1)
        else:
            logarithm = jnp.log(variance + epsilon).sum(1)
        logarithm += classes * math.log(precision)
        error = ((centre - mean * jnp.eye(classes, dtype=outputs.dtype)) ** 2).sum(1)
        divergence = 0.5 * (precision * (variance.sum(1) + error) - classes - logarithm)
        tails = ((fourth / (variance + epsilon) ** 2 - 3) ** 2).mean(1)
        weight = kurtosis * jnp.clip((step - begin + (begin == end)) / max(end - begin, 1), 0, 1)
        each = jnp.where(counts, divergence + weight * tails, 0)
        return each.sum() / jnp.maximum(counts.sum(), 1)

    return Objective(loss)


def _product(left: Array, right: Array) -> Array:
    """In float32, also where a device would round outputs, which lie far from 0, to fewer bits."""
    return jnp.matmul(left, right, precision="highest")


def _positive(name: str, value: float) -> float:
    number = finite_number(name, value, f"correct {name}")
    if number <= 0:
        raise PwactError(f"{name} above 0", repr(value), f"correct {name}")
    return number


def _steps(ramp: tuple[int, int]) -> tuple[int, int]:
    do = "give ramp=(begin, end) in optimizer steps, the end not before the begin"
    if not isinstance(ramp, tuple | list) or len(ramp) != 2:
        raise PwactError("ramp as two steps", repr(ramp), do)
    begin, end = (whole_number("each step of ramp", step, do, least=0) for step in ramp)
    if end < begin:
        raise PwactError("ramp as two steps in order", repr(ramp), do)
    return begin, end
