"""Which of n ordered values a quantile is, in whole numbers of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32

from pwact.core.arguments import finite_number
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.tally import Tally
from pwact.errors import PwactError

_DIGITS = 6
"""Of 16 binary places each, to which a quantile is rounded up."""

_BLOCK = 16
"""Slots that are summed side by side: XLA on CPU takes the square of it for a sum up to each."""


def quantile_numbers(q: float | Sequence[float]) -> tuple[float, ...]:
    """Quantiles as a tuple of numbers from 0 to 1.

    Raises:
        PwactError: none, or one that is not from 0 to 1.

    Example:
        >>> quantile_numbers(0.5), quantile_numbers([0.1, 0.9])
        ((0.5,), (0.1, 0.9))
    """
    do = "write 0.5 for the median, [0.25, 0.75] for the quartiles"
    each = q if isinstance(q, (Sequence, tuple)) and not isinstance(q, str) else [q]
    numbers = tuple(finite_number("q", value, do) for value in each)
    if not numbers or not all(0 <= number <= 1 for number in numbers):
        raise PwactError("one quantile or more, each from 0 to 1", repr(q), do)
    return numbers


def ranks(q: tuple[float, ...], count: Counter) -> Counter:
    """floor(q (n - 1)): the places, from 0, of the lower order statistics for q among n ordered values.

    q is the fraction that was meant: 0.3 of 11 values is place 3, though the float nearest to 3 / 10 is
    below it. That is the fraction with a denominator up to 10**6 that q is the nearest float of, or else
    the decimal that q is written as. Exact where (n - 1) times the denominator is below 2**96; n = 0 gives 0.

    Args:
        q: each from 0 to 1.
        count: n, [...].

    Returns:
        Places [quantile, ...].

    Example:
        >>> import numpy as np
        >>> np.asarray(ranks((0.3, 1.0), Counter.zeros().add(11))).tolist()
        [3, 10]
    """
    scaled = [math.ceil(meant(each) * 2 ** (16 * _DIGITS)) for each in q]
    factor = [
        jnp.asarray([number >> 16 * place & 0xFFFF for number in scaled], jnp.uint32)
        for place in range(_DIGITS + 1)
    ]
    some = (count.low > 0) | (count.high > 0)
    high, low = count.high - (some & (count.low == 0)).astype(jnp.uint32), count.low - some.astype(jnp.uint32)
    digits = [low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16]
    columns = [jnp.zeros((len(q), *count.shape), jnp.uint32) for _ in range(len(factor) + len(digits) + 1)]
    for place, digit in enumerate(digits):
        for at, numbers in enumerate(factor):
            product = digit[None] * numbers.reshape(-1, *(1,) * count.ndim)
            columns[place + at] += product & 0xFFFF
            columns[place + at + 1] += product >> 16
    for place in range(len(columns) - 1):
        columns[place + 1] += columns[place] >> 16
        columns[place] &= 0xFFFF
    whole = columns[_DIGITS : _DIGITS + 4]
    return Counter(whole[2] | (whole[3] << 16), whole[0] | (whole[1] << 16))


def meant(q: float) -> Fraction:
    """The fraction that a float stands for.

    Example:
        >>> meant(0.3), meant(14 / 15), meant(0.12345678901)
        (Fraction(3, 10), Fraction(14, 15), Fraction(12345678901, 100000000000))
    """
    simple = Fraction(q).limit_denominator(10**6)
    return simple if float(simple) == q else Fraction(repr(q))


def at_most(left: Counter, right: Counter) -> Bool[Array, ...]:
    """left <= right."""
    return (left.high < right.high) | ((left.high == right.high) & (left.low <= right.low))


def minus(left: Counter, right: Counter) -> Counter:
    """left - right, where that is not negative."""
    return Counter(left.high - right.high - (left.low < right.low).astype(jnp.uint32), left.low - right.low)


def locate(tally: Tally, place: Counter) -> tuple[Int32[Array, ...], Counter]:
    """The slot that holds the value at `place`, where slots are in ascending order of their values.

    Args:
        tally: counts [slot, ...].
        place: from 0, [...]; the last slot where there are fewer values.

    Returns:
        The slot, and how many values lie in the slots before it.
    """
    slots = tally.low.shape[0]
    block = math.gcd(slots, _BLOCK)

    def step(number: Array, found: tuple[Array, Counter, Counter]) -> Any:
        where, before, so_far = found
        high, low = (
            lax.dynamic_slice_in_dim(limb, number * block, block) for limb in (tally.high, tally.low)
        )
        passed = _cumulative(Tally(high, low, tally.bound).counter(), so_far)
        beyond = at_most(passed, jax.tree.map(lambda limb: limb[None], place)).sum(0, dtype=jnp.int32)
        last = jnp.maximum(beyond - 1, 0)[None]
        before = jax.tree.map(
            lambda new, old: jnp.where(beyond > 0, jnp.take_along_axis(new, last, 0)[0], old), passed, before
        )
        return where + beyond, before, jax.tree.map(lambda limb: limb[-1], passed)

    zero = Counter.zeros(place.shape)
    start = (jnp.zeros(place.shape, jnp.int32), zero, zero)
    where, before, _ = lax.fori_loop(0, slots // block, step, start)
    return jnp.minimum(where, slots - 1), before


def _cumulative(counts: Counter, start: Counter) -> Counter:
    """`start` and the sums of counts [slot, ...] from the first slot to each; at most 65,536 slots."""
    small = jnp.cumsum(counts.low & 0xFFFF, 0, dtype=jnp.uint32)
    large = jnp.cumsum(counts.low >> 16, 0, dtype=jnp.uint32) + (small >> 16)
    high = jnp.cumsum(counts.high, 0, dtype=jnp.uint32) + (large >> 16)
    total = Counter(high, (large << 16) | (small & 0xFFFF))
    return total.merge(jax.tree.map(lambda limb: limb[None], start))
