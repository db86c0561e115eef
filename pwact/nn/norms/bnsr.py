"""Batch normalisation that takes away the skewness of each channel too."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from pwact.core.arguments import finite_number, whole_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.nn.norms.norm import Norm

RATIOS = (0.1, 10.0)
"""Between these the ratio of the slopes is looked for."""

BISECTIONS = 40


@memoized
def bnsr(epsilon: float = 1e-5, momentum: float = 0.9, min_count: int = 100, implicit: bool = False) -> Norm:
    """Standardises each channel over the batch after bending it at its mean so that its skewness is 0.

    z = (x - mean) / sqrt(var + epsilon);   u = r max(z, 0) - max(-z, 0)
    y = scale * (u - m (r - 1)) * sqrt((v(1) + epsilon) / (v(r) + epsilon)) + bias
    v(r) = r^2 p2 + n2 - m^2 (r - 1)^2;   m = E max(z, 0), pk = E max(z, 0)^k, nk = E max(-z, 0)^k

    The ratio r of the slopes is the root of the third central moment of u,

        F(r) = r^3 p3 - n3 - 3 m (r - 1) (r^2 p2 + n2) + 2 m^3 (r - 1)^3,

    by 40 bisections of log r in 0.1 .. 10. Where F has one sign there, it is the end at which |skewness| is
    less. v(1) is the variance of z, 1 but for epsilon, so that r = 1 is batch normalisation. In
    evaluation r is solved again from running moments. It is meant to stand before the ReLU: after
    one, a channel whose spike at 0 is too heavy has no root.

    Args:
        epsilon: added to variances; above 0.
        momentum: how much of themselves running moments keep at each step, in 0 .. 1.
        min_count: points of a batch below which r is 1 and the running partial moments stay.
        implicit: whether gradients also pass through r, by dr = -dF / F'(r); else r is a constant to them.

    Returns:
        A norm after the convolution, with variables `scale` and `bias`, and running `mean`, `var` and
        `moments` [moment, channel] (m, p2, n2, p3, n3; at first those of a normal distribution); no bias
        before it. Its module can be given a `mask`.

    Raises:
        PwactError: an argument out of range.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> from pwact.nn.norms import bnsr
        >>> x = jax.random.exponential(jax.random.key(0), (50, 4, 4, 1))
        >>> y = bnsr().layer(1, nnx.Rngs(0))(x)
        >>> f"{((x - x.mean()) ** 3).mean() / x.std() ** 3:.1f} {abs((y**3).mean()):.3f}"
        '2.0 0.000'

    Reference: S. Ding, J. Martin, Y. Li, Batch normalization with skewness reduction, ICPR 2020, pp.
        7165-7172. Status: reconstruction (the idea is from the abstract; their function could not be read,
        this one is ours).
    """
    epsilon = finite_number("epsilon", epsilon, "give a number above 0")
    if epsilon <= 0:
        raise PwactError("epsilon above 0", repr(epsilon), "give a number above 0")
    momentum = finite_number("momentum", momentum, "give a share in 0 .. 1")
    if not 0 <= momentum <= 1:
        raise PwactError("momentum in 0 .. 1", repr(momentum), "give a share in 0 .. 1")
    min_count = whole_number("min_count", min_count, "give the fewest points that r is solved from")
    if not isinstance(implicit, bool):
        raise PwactError("implicit as True or False", repr(implicit), "correct implicit")
    return Norm(lambda channels, rngs: BNSR(channels, epsilon, momentum, min_count, implicit), None, False)


class Moments(NamedTuple):
    """Partial moments of a standardised channel: m, p2, n2, p3, n3."""

    m: Any
    p2: Any
    n2: Any
    p3: Any
    n3: Any


NORMAL = Moments(1 / math.sqrt(2 * math.pi), 0.5, 0.5, math.sqrt(2 / math.pi), math.sqrt(2 / math.pi))
"""Of a normal distribution."""


class BNSR(nnx.Module):
    """The module of `bnsr`; `train()` and `eval()` switch between the batch's moments and running ones."""

    def __init__(self, channels: int, epsilon: float, momentum: float, min_count: int, implicit: bool):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))
        self.moments = nnx.BatchStat(jnp.broadcast_to(jnp.array(NORMAL, jnp.float32)[:, None], (5, channels)))
        self.epsilon, self.momentum, self.min_count = epsilon, momentum, min_count
        self.implicit = implicit
        self.use_running_average = False

    def __call__(
        self, x: Float[Array, "*points channel"], mask: Bool[Array, "*leading"] | None = None
    ) -> Float[Array, "*points channel"]:
        """The normalised activations.

        Args:
            x: activations; all axes but the last are points of a channel.
            mask: as many leading axes of `x` as it has; what is false enters no moment.
        """
        given, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(x.ndim - 1))
        seen = jnp.ones((), bool) if mask is None else mask
        seen = jnp.broadcast_to(seen.reshape(seen.shape + (1,) * (x.ndim - seen.ndim)), x.shape)
        count = jnp.sum(seen, axes)

        def expected(value: Any) -> Any:
            return jnp.sum(jnp.where(seen, value, 0), axes) / jnp.maximum(count, 1)

        def row(vector: Any) -> Any:
            return vector.reshape((1,) * len(axes) + (-1,))

        if self.use_running_average:
            mean, var, moments = self.mean[...], self.var[...], Moments(*self.moments[...])
            z = (x - row(mean)) * row(jax.lax.rsqrt(var + self.epsilon))
            ratio = solved(moments)
        else:
            x = jnp.where(seen, x, 0)
            mean = expected(x)
            var = expected(jnp.square(x - row(mean)))
            z = (x - row(mean)) * row(jax.lax.rsqrt(var + self.epsilon))
            up, down = jnp.where(z > 0, z, 0), jnp.where(z < 0, -z, 0)
            moments = Moments(expected(up), *(expected(part**k) for k in (2, 3) for part in (up, down)))
            enough = count >= self.min_count
            ratio = jnp.where(enough, solved(moments, implicit=self.implicit), 1)
            self._remember(self.mean, mean, count > 0)
            self._remember(self.var, var, count > 0)
            self._remember(self.moments, jnp.stack(moments), enough)
        bent = jnp.where(z > 0, row(ratio) * z, z)
        level = moments.m * (ratio - 1)
        straight, now = (_variance(moments, r) + self.epsilon for r in (1, ratio))
        y = row(self.scale[...] * jnp.sqrt(straight / now)) * (bent - row(level)) + row(self.bias[...])
        return y.astype(given)

    def _remember(self, variable: Any, value: Any, known: Any) -> None:
        kept = variable[...]
        moved = (self.momentum * kept + (1 - self.momentum) * value).astype(kept.dtype)
        variable[...] = jax.lax.stop_gradient(jnp.where(known, moved, kept))


def third_moment(moments: Moments, ratio: Any) -> Any:
    """F(r): the third central moment of a channel bent with a ratio of slopes."""
    m, p2, n2, p3, n3 = moments
    less = ratio - 1
    return ratio**3 * p3 - n3 - 3 * m * less * (ratio**2 * p2 + n2) + 2 * m**3 * less**3


def solved(moments: Moments, *, implicit: bool = False) -> Any:
    """The ratio of slopes in 0.1 .. 10 at which a channel's skewness is 0, or as near as it comes.

    Args:
        moments: partial moments [channel].
        implicit: whether gradients pass.

    Returns:
        [channel]; 1 where all third moments are 0.
    """
    fixed = jax.lax.stop_gradient(moments)
    low, high = (jnp.full_like(fixed.m, math.log(end)) for end in RATIOS)
    below, above = (third_moment(fixed, jnp.exp(end)) for end in (low, high))

    def halve(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        left, right = ends
        middle = (left + right) / 2
        same = third_moment(fixed, jnp.exp(middle)) * below > 0
        return jnp.where(same, middle, left), jnp.where(same, right, middle)

    left, right = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))
    root = jnp.exp((left + right) / 2)
    skew_low, skew_high = (
        jnp.abs(value) / jnp.maximum(_variance(fixed, jnp.exp(end)), 1e-12) ** 1.5
        for value, end in ((below, low), (above, high))
    )
    crossed = jnp.sign(below) != jnp.sign(above)
    end = jnp.where(skew_low < skew_high, jnp.exp(low), jnp.exp(high))
    ratio = jnp.where(crossed, root, jnp.where(skew_low == skew_high, 1, end))
    if not implicit:
        return ratio
    slope = jax.vmap(jax.grad(third_moment, argnums=1))(fixed, ratio)
    steep = crossed & (slope != 0)
    # Its value is 0: what counts is how F at this ratio moves with the moments.
    moving = third_moment(moments, ratio)
    moving = moving - jax.lax.stop_gradient(moving)
    return ratio - jnp.where(steep, moving / jnp.where(steep, slope, 1), 0)


def _variance(moments: Moments, ratio: Any) -> Any:
    return jnp.maximum(ratio**2 * moments.p2 + moments.n2 - moments.m**2 * (ratio - 1) ** 2, 0)
