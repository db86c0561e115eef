"""Tallies and ranks against Python's whole numbers."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.streaming.counter import Counter
from pwact.core.streaming.ranks import at_most, locate, meant, minus, ranks
from pwact.core.streaming.tally import Tally
from pwact.errors import PwactError


def counter_of(values) -> Counter:
    values = np.asarray(values, np.uint64)
    return Counter(jnp.asarray(values >> 32, jnp.uint32), jnp.asarray(values & 0xFFFFFFFF, jnp.uint32))


def test_additions_and_merges_of_any_size_are_exact():
    rng = np.random.default_rng(0)
    add, add_at, merge = jax.jit(Tally.add), jax.jit(Tally.add_at), jax.jit(Tally.merge)
    tallies, exact = [Tally.zeros((5,)) for _ in range(3)], [[0] * 5 for _ in range(3)]
    for _ in range(300):
        one, other = rng.integers(0, 3, 2)
        what = rng.integers(0, 3)
        if what == 0:
            amount = rng.integers(0, 2**31, 5)
            tallies[one] = add(tallies[one], jnp.asarray(amount, jnp.uint32), amount.max())
            exact[one] = [a + int(b) for a, b in zip(exact[one], amount, strict=True)]
        elif what == 1:
            slots, amount = rng.integers(0, 5, 4), rng.integers(0, 2**29, 4)
            tallies[one] = add_at(
                tallies[one], jnp.asarray(slots), jnp.asarray(amount, jnp.uint32), amount.sum()
            )
            for slot, more in zip(slots, amount, strict=True):
                exact[one][slot] += int(more)
        elif max(exact[one] + exact[other]) < 2**61:
            tallies[one] = merge(tallies[one], tallies[other])
            exact[one] = [a + b for a, b in zip(exact[one], exact[other], strict=True)]
    assert max(map(max, exact)) > 2**40
    for tally, wanted in zip(tallies, exact, strict=True):
        assert (np.asarray(tally.low) <= int(tally.bound)).all()
        assert np.asarray(tally.counter()).tolist() == wanted


def test_more_counts_than_an_int32_can_number_are_refused():
    with pytest.raises(PwactError, match="fewer than 2\\^31 counts"):
        Tally.zeros((2**16, 2**15))


def test_ranks_are_those_of_fractions():
    rng = np.random.default_rng(1)
    counts = [0, 1, 2, 3, 11, 101, 2**32 - 1, 2**32, 2**32 + 1, 2**62, *rng.integers(1, 2**62, 40).tolist()]
    # Where (n - 1) q is a whole number, the float nearest to q would often be one short.
    counts += [10 * int(number) + 1 for number in rng.integers(1, 2**40, 40)]
    q = (0.0, 0.1, 14 / 15, 2 / 3, 0.3, 0.5, 0.7, 0.99, 0.999, 0.123456789, 1e-9, 1.0)
    found = np.asarray(jax.jit(lambda count: ranks(q, count))(counter_of(counts)))
    for number, places in zip(q, found, strict=True):
        assert places.tolist() == [max(int(meant(number) * (n - 1)), 0) for n in counts], number


def test_a_float_stands_for_the_fraction_that_was_meant():
    rng = np.random.default_rng(3)
    for above, below in zip(
        rng.integers(0, 1000, 300).tolist(), rng.integers(1000, 10**6, 300).tolist(), strict=True
    ):
        assert meant(above / below) == Fraction(above, below)
    for text in ("0.1", "0.999", "0.123456789", "1e-09", "0.4999999999", "5e-324"):
        assert meant(float(text)) == Fraction(text)


def test_comparisons_and_differences_of_two_limbs():
    rng = np.random.default_rng(2)
    left = np.concatenate([rng.integers(0, 2**62, 200), rng.integers(0, 3, 200) << 32])
    right = np.concatenate([left[:100], rng.integers(0, 2**62, 100), rng.integers(0, 2**33, 200)])
    assert (np.asarray(at_most(counter_of(left), counter_of(right))) == (left <= right)).all()
    high, low = np.maximum(left, right), np.minimum(left, right)
    assert (np.asarray(minus(counter_of(high), counter_of(low))) == high - low).all()


@pytest.mark.parametrize("slots", [1, 7, 32, 65])
def test_a_place_is_found_among_counts_of_any_size(slots):
    rng = np.random.default_rng(slots)
    counts = rng.integers(0, 2**40, (slots, 50)) * rng.integers(0, 2, (slots, 50))
    counts[-1] += 1
    passed = counts.cumsum(0)
    place = (rng.random(50) * passed[-1]).astype(np.int64)
    place[:10] = passed[rng.integers(0, slots, 10), range(10)] - 1  # the last of a slot
    place = np.maximum(place, 0)
    high, low = jnp.asarray(counts >> 31, jnp.uint32), jnp.asarray(counts & (2**31 - 1), jnp.uint32)
    where, before = jax.jit(locate)(Tally(high, low, jnp.uint32(2**31 - 1)), counter_of(place))
    wanted = (passed <= place).sum(0)
    assert np.asarray(where).tolist() == wanted.tolist()
    assert np.asarray(before).tolist() == (passed - counts)[wanted, range(50)].tolist()
