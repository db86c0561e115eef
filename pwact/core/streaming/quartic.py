"""Sums of products of squared lengths, which the bias of HSIC and CKA is found from."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pwact.core.streaming.joint import HIGHEST, Joint, JointState

SMALLEST = 1e-30
"""Of a product of two sets' variances: below, its parts may be below what float32 holds."""


class QuarticState(NamedTuple):
    """What `Joint` keeps; of each set the sum over samples of |x|^2; of each pair that of |x|^2 |y|^2; and of
    each of `Quartic.leaning` that of |x|^2 y. All are measured from the means.

    Their sums are plain ones: what they correct is one part in the number of samples.
    """

    joint: JointState
    lengths: tuple[Array, ...]
    both: tuple[Array, ...]
    leaning: tuple[Array, ...]


class Quartic(NamedTuple):
    """Streaming sums for linear kernels without their diagonals, for the pairs of sets of a `Joint`.

    A set whose mean moves by s, and another's by t, change with a = sum |x|^2, b = sum |y|^2, C = sum x y^T:

        sum |x|^2          becomes  a + n |s|^2
        sum |y|^2 x        becomes  itself - b s - 2 C t - n |t|^2 s
        sum |x|^2 |y|^2    becomes  itself - 2 s.(sum |y|^2 x) - 2 t.(sum |x|^2 y) + |t|^2 a + |s|^2 b
                                    + 4 s^T C t + n |s|^2 |t|^2

    Source: ours; what products of deviations become when the mean they are measured from moves.
    """

    joint: Joint

    @property
    def leaning(self) -> tuple[tuple[int, int], ...]:
        """Of which sets x and y the sums of |x|^2 y are kept."""
        return tuple(dict.fromkeys(pair for x, y in self.joint.pairs for pair in ((x, y), (y, x))))

    def init(self, shapes: tuple[tuple[int, ...], ...], dtype: jnp.dtype) -> QuarticState:
        """Nothing seen, of sets of these shapes [..., variable]."""
        length = jnp.zeros(shapes[0][:-1], dtype)
        return QuarticState(
            self.joint.init(shapes, dtype),
            (length,) * len(shapes),
            (length,) * len(self.joint.pairs),
            tuple(jnp.zeros(shapes[y], dtype) for _, y in self.leaning),
        )

    def update(
        self, state: QuarticState, sets: tuple[Float[Array, "image _ ..."], ...], valid: Bool[Array, " image"]
    ) -> QuarticState:
        """The state after a batch of each set, [image, sample, ..., variable]."""
        empty = jax.tree.map(jnp.zeros_like, state.joint)
        own = self.joint.update(empty, sets, valid)
        centred = []
        for x, mean in zip(sets, own.means, strict=True):
            shown = valid.reshape(-1, *(1,) * (x.ndim - 1))
            deviation = jnp.where(shown, (x - mean.sum[None, None]) - mean.rest[None, None], 0)
            centred.append(deviation.mean(1, keepdims=True) if self.joint.averaged else deviation)
        lengths = [jnp.square(x).sum(-1) for x in centred]
        batch = QuarticState(
            own,
            tuple(length.sum((0, 1)) for length in lengths),
            tuple((lengths[x] * lengths[y]).sum((0, 1)) for x, y in self.joint.pairs),
            tuple(
                jnp.einsum("bp...,bp...i->...i", lengths[x], centred[y], precision=HIGHEST)
                for x, y in self.leaning
            ),
        )
        return self.merge(state, batch)

    def merge(self, left: QuarticState, right: QuarticState) -> QuarticState:
        """The state of what either has seen."""
        n_left, n_right = (state.joint.samples.to_float() for state in (left, right))
        n = jnp.maximum(n_left + n_right, 1)
        apart = [
            (b.sum - a.sum) + (b.rest - a.rest)
            for a, b in zip(left.joint.means, right.joint.means, strict=True)
        ]
        one = self._moved(left, [move * (n_right / n) for move in apart])
        other = self._moved(right, [move * (-n_left / n) for move in apart])
        both = jax.tree.map(jnp.add, one, other)
        rest = jax.tree.map(
            lambda both, left, right: jnp.where(n_left == 0, right, jnp.where(n_right == 0, left, both)),
            both,
            left[1:],
            right[1:],
        )
        return QuarticState(self.joint.merge(left.joint, right.joint), *rest)

    def dependence(self, state: QuarticState) -> tuple[Array, ...]:
        """HSIC without bias of each pair over the product of both variances, [...]; NaN of fewer than four
        samples, of what does not vary, and of what leaves the range of float32.

        n / (n - 3) (|C / n|_F^2 / v_x v_y - q / (n - 2) + 1 / ((n - 1) (n - 2)))
        with v = sum |x|^2 / n and q = sum |x|^2 |y|^2 / (n v_x v_y)
        """
        n = state.joint.samples.to_float()
        variances = self.variances(state)
        values = []
        for number, (x, y) in enumerate(self.joint.pairs):
            own, other = variances[x], variances[y]
            total = state.joint.products[number].sum / jnp.maximum(n, 1)
            scaled = total / jnp.sqrt(own)[..., None, None] / jnp.sqrt(other)[..., None, None]
            q = state.both[number] / jnp.maximum(n, 1) / own / other
            value = jnp.square(scaled).sum((-2, -1)) - q / (n - 2) + 1 / ((n - 1) * (n - 2))
            known = (n > 3) & (own > 0) & (other > 0) & (own * (other / SMALLEST) >= 1)
            values.append(jnp.where(known & jnp.isfinite(value), n / (n - 3) * value, jnp.nan))
        return tuple(values)

    def variances(self, state: QuarticState) -> tuple[Array, ...]:
        """sum |x|^2 / n of each set, [...]."""
        n = jnp.maximum(state.joint.samples.to_float(), 1)
        return tuple(length / n for length in state.lengths)

    def _moved(self, state: QuarticState, moves: list[Array]) -> tuple:
        """All but the joint part of a state, measured from means that are `moves` further."""
        n = state.joint.samples.to_float()
        leaning = dict(zip(self.leaning, state.leaning, strict=True))
        far = [jnp.square(move).sum(-1) for move in moves]
        lengths = tuple(a + n * square for a, square in zip(state.lengths, far, strict=True))
        both, along = [], {}
        for (x, y), product, q in zip(self.joint.pairs, state.joint.products, state.both, strict=True):
            (s, t), (a, b) = (moves[x], moves[y]), (state.lengths[x], state.lengths[y])
            along[y, x] = (product.sum * t[..., None, :]).sum(-1)
            along[x, y] = (product.sum * s[..., :, None]).sum(-2)
            bend = (s * leaning[y, x]).sum(-1) + (t * leaning[x, y]).sum(-1)
            q = q - 2 * bend + far[y] * a + far[x] * b + 4 * (s * along[y, x]).sum(-1)
            both.append(q + n * far[x] * far[y])
        leaned = tuple(
            lean - (state.lengths[x] + n * far[x])[..., None] * moves[y] - 2 * along[x, y]
            for (x, y), lean in leaning.items()
        )
        return lengths, tuple(both), leaned
