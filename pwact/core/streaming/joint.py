"""Means and sums of products of sets of variables: what covariance, CKA and PCA are made from."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter

HIGHEST = jax.lax.Precision.HIGHEST
"""All bits of the factors: elsewhere than on CPU the default rounds them to fewer."""


class Two(NamedTuple):
    """An unevaluated sum of two floats, the second below half a unit in the last place of the first."""

    sum: Array
    rest: Array


class JointState(NamedTuple):
    """Samples seen, the mean of each set of variables, and the sums over samples of products of deviations
    from these means: a matrix for each of `Joint.pairs`, then a vector for each of `Joint.squares`."""

    samples: Counter
    means: tuple[Two, ...]
    products: tuple[Two, ...]


class Joint(NamedTuple):
    """Streaming sums of products, sum_i (x_i - mean x)(y_i - mean y)^T, for pairs of sets x, y.

    A batch of N samples is measured from the means so far and joins them by

        m = sum d / N,   delta = m - rest,   w = N / (n + N)
        products_xy += d_x^T d_y - m_x (sum d_y)^T + delta_x delta_y^T n w,   (mean, rest) += delta w

    The first batch is measured from the mean of its first image. All sums over batches are kept in two
    parts, so that the error does not grow with their number: with u = 2^-24 and N samples an update that
    of an entry is at most about 4 N u sqrt(products_xx products_yy), in practice near sqrt(N) u of that.
    Products below float32's smallest normal number, 1.2e-38, are 0 on CPU.

    Args:
        pairs: which sets are multiplied, as indices into the sequence of sets.
        squares: for which sets the sum of squares of each variable is kept besides.
        averaged: whether an image is one sample, the mean of those it is made of.

    Example:
        >>> import jax.numpy as jnp
        >>> joint = Joint(((0, 0),))
        >>> x = jnp.array([[[1.0, 2.0]], [[3.0, 6.0]]])
        >>> state = joint.update(joint.init(((2,),), x.dtype), (x,), jnp.ones(2, bool))
        >>> joint.covariances(state)[0].tolist()
        [[1.0, 2.0], [2.0, 4.0]]

    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37 (1983), for products of two variables; sums in two parts after Dekker (1971).
        Reconstructed from the formulas.
    """

    pairs: tuple[tuple[int, int], ...]
    squares: tuple[int, ...] = ()
    averaged: bool = False

    def init(self, shapes: tuple[tuple[int, ...], ...], dtype: jnp.dtype) -> JointState:
        """Nothing seen, of sets of these shapes [..., variable]."""

        def nothing(shape: tuple[int, ...]) -> Two:
            return Two(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

        return JointState(
            Counter.zeros(),
            tuple(map(nothing, shapes)),
            tuple(nothing((*shapes[x], shapes[y][-1])) for x, y in self.pairs)
            + tuple(nothing(shapes[x]) for x in self.squares),
        )

    def update(
        self,
        state: JointState,
        sets: tuple[Float[Array, "image _ ..."], ...],
        valid: Bool[Array, " image"],
    ) -> JointState:
        """The state after a batch of each set, [image, sample, ..., variable]; as many samples of each set
        unless these are averaged."""
        before = state.samples.to_float()
        new = valid.sum(dtype=jnp.uint32) * (1 if self.averaged else sets[0].shape[1])
        arrived = new.astype(jnp.float32)
        weight = arrived / jnp.maximum(before + arrived, 1)
        starts, centred, totals = [], [], []
        for x, mean in zip(sets, state.means, strict=True):
            x = x.astype(mean.sum.dtype)
            start = only_if((before == 0) & (new > 0), functools.partial(_middle, x, valid), mean.sum)
            shown = valid.reshape(-1, *(1,) * (x.ndim - 1))
            starts.append(start)
            deviation = jnp.where(shown, x - start[None, None], 0)
            centred.append(deviation.mean(1, keepdims=True) if self.averaged else deviation)
            totals.append(_total(centred[-1]))
        offsets = [total / jnp.maximum(arrived, 1) for total in totals]
        deltas = [offset - mean.rest for offset, mean in zip(offsets, state.means, strict=True)]
        products = tuple(
            add(
                so_far,
                (total(centred[x], centred[y]) - product(offsets[x], totals[y]))
                + product(deltas[x], deltas[y]) * (before * weight),
            )
            for so_far, (x, y, product, total) in zip(state.products, self._terms(), strict=True)
        )
        means = tuple(
            add(Two(start, mean.rest), delta * weight)
            for start, mean, delta in zip(starts, state.means, deltas, strict=True)
        )
        return JointState(state.samples.add(new), means, products)

    def merge(self, left: JointState, right: JointState) -> JointState:
        """The state of what either has seen."""
        n_left, n_right = left.samples.to_float(), right.samples.to_float()
        weight = n_right / jnp.maximum(n_left + n_right, 1)
        deltas = [(b.sum - a.sum) + (b.rest - a.rest) for a, b in zip(left.means, right.means, strict=True)]
        means = tuple(add(mean, delta * weight) for mean, delta in zip(left.means, deltas, strict=True))
        products = tuple(
            add(add(a, b.sum), b.rest + product(deltas[x], deltas[y]) * (n_left * weight))
            for (x, y, product, _), a, b in zip(self._terms(), left.products, right.products, strict=True)
        )
        both = JointState(left.samples.merge(right.samples), means, products)
        return jax.tree.map(
            lambda both, left, right: jnp.where(n_left == 0, right, jnp.where(n_right == 0, left, both)),
            both,
            left,
            right,
        )

    def covariances(self, state: JointState) -> tuple[Array, ...]:
        """products / n of each pair, [..., variable, variable], and of squares; NaN of nothing, inf where
        one is too large for float32."""
        n = jnp.maximum(state.samples.to_float(), 1)
        return tuple(_known(state, (product.sum + product.rest) / n) for product in state.products)

    def means(self, state: JointState) -> tuple[Array, ...]:
        """Mean of each set, [..., variable]; NaN of nothing, inf where one is too large for float32."""
        return tuple(_known(state, mean.sum + mean.rest) for mean in state.means)

    def _terms(self) -> list[tuple[int, int, Callable, Callable]]:
        """The two sets of each of the state's products, how vectors multiply, and how samples add up."""
        matrices = [(x, y, _outer, _total_outer) for x, y in self.pairs]
        return [*matrices, *((x, x, jnp.multiply, _total_multiply) for x in self.squares)]


def correlation(
    covariance: Float[Array, "... x y"], variance_x: Float[Array, "... x"], variance_y: Float[Array, "... y"]
) -> Float[Array, "... x y"]:
    """covariance / sqrt(variance_x variance_y); NaN where a variance is 0, inf where one is inf.

    Example:
        >>> import jax.numpy as jnp
        >>> correlation(jnp.array([[2.0, 0.0]]), jnp.array([4.0]), jnp.array([4.0, 0.0])).tolist()
        [[0.5, nan]]
    """
    of_x, of_y = variance_x[..., :, None], variance_y[..., None, :]
    overflow = jnp.isinf(covariance) | jnp.isinf(of_x) | jnp.isinf(of_y)
    shares = jnp.clip(covariance / jnp.sqrt(of_x) / jnp.sqrt(of_y), -1, 1)
    return jnp.where((of_x > 0) & (of_y > 0), jnp.where(overflow, jnp.inf, shares), jnp.nan)


def frobenius(matrix: Float[Array, "... x y"]) -> Float[Array, ...]:
    """The root of the sum of squares, which themselves may leave the range of float32.

    Example:
        >>> import jax.numpy as jnp
        >>> print(f"{frobenius(jnp.array([[3e-30, 4e-30]])):.1e}")
        5.0e-30
    """
    largest = jnp.abs(matrix).max((-2, -1))
    known = (largest > 0) & jnp.isfinite(largest)
    scaled = matrix / jnp.where(known, largest, 1)[..., None, None]
    return jnp.where(known, largest * jnp.sqrt(jnp.square(scaled).sum((-2, -1))), largest)


def _known(state: JointState, value: Array) -> Array:
    value = jnp.where(jnp.isfinite(value), value, jnp.inf)
    return jnp.where(state.samples.to_float() > 0, value, jnp.nan)


def _middle(x: Array, valid: Array, _: Array) -> Array:
    """Near the mean of the first valid image; exactly its value where its samples are all equal."""
    image = jnp.take(x, jnp.argmax(valid), axis=0)
    return image[0] + (image - image[:1]).mean(0)


def _total(x: Array) -> Array:
    # Twice as fast on CPU as a sum, and no slower elsewhere.
    return jnp.einsum("bp,bp...i->...i", jnp.ones(x.shape[:2], x.dtype), x, precision=HIGHEST)


def _total_outer(x: Array, y: Array) -> Array:
    # With one axis to sum over, the product needs no transposed copy.
    x, y = (array.reshape(-1, *array.shape[2:]) for array in (x, y))
    return jnp.einsum("n...i,n...j->...ij", x, y, precision=HIGHEST)


def _total_multiply(x: Array, y: Array) -> Array:
    return _total(x * y)


def _outer(x: Array, y: Array) -> Array:
    return x[..., :, None] * y[..., None, :]


def add(two: Two, amount: Array) -> Two:
    """The sum with `amount` more."""
    return Two(*_two_sum(two.sum, two.rest + amount))


def _two_sum(large: Array, small: Array) -> tuple[Array, Array]:
    """large + small as (rounded sum, what rounding left over), for any magnitudes."""
    # The sum that is stored and the one that the rest belongs to must be one: the compiler may otherwise
    # compute it twice and round a tie both ways.
    total = lax.optimization_barrier(large + small)
    back = total - large
    return total, (large - (total - back)) + (small - back)
