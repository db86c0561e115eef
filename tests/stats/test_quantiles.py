"""The stated bound of the sketch and the exactness of order statistics, on hard data."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import exact_quantiles, per_channel, quantiles

from .passes import accumulate, observe, repeated

IMAGES = 131_072
Q = (0.0, 0.001, 0.3, 0.5, 0.77, 0.999, 1.0)


def lower(x: np.ndarray, q: tuple[float, ...] = Q) -> np.ndarray:
    return np.sort(x, 0)[[math.floor(Fraction(repr(number)) * (len(x) - 1)) for number in q]]


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    """A channel each: what a bound on relative errors finds hard."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1, 1], IMAGES)
    channels = [
        rng.normal(size=IMAGES),
        np.maximum(rng.normal(size=IMAGES), 0),
        sign * 10.0 ** rng.uniform(-37, 38, IMAGES),
        rng.integers(-3, 4, IMAGES),
        1e6 + rng.uniform(-1, 1, IMAGES),
        np.full(IMAGES, -0.1),
        np.zeros(IMAGES),
        3.4e38 * rng.uniform(-1, 1, IMAGES),
        1e-37 * rng.normal(size=IMAGES),
        np.exp(8 * rng.normal(size=IMAGES)),
        2.0 ** np.linspace(-60, 60, IMAGES),
        np.where(np.arange(IMAGES) == IMAGES - 1, 1e30, rng.normal(size=IMAGES)),
        2.0 ** rng.integers(-12, 3, IMAGES) * (1 + rng.integers(0, 50, IMAGES) / 50),
    ]
    return np.stack(channels, 1).astype(np.float32)


@pytest.mark.parametrize("error", [0.001, 0.01, 0.3])
def test_the_bound_of_the_sketch_holds(data, error):
    found = accumulate(quantiles(Q, relative_error=error), data, 2048)
    exact, floor = lower(data).astype(np.float64), found["floor"].astype(np.float64)
    small = np.abs(exact) < floor
    assert (found["value"][small] == 0).all()
    difference = np.abs(found["value"] - exact)
    assert (difference <= (error + 2.0**-22) * np.abs(exact))[~small].all()
    largest = np.abs(data).max(0)
    assert (floor <= np.maximum(largest / 2**11, 2.0**-126)).all()


def test_the_bound_is_no_wider_than_it_need_be():
    """Somewhere the error is what was asked for: buckets are not finer than they are paid for."""
    x = np.float32(1 + np.arange(4096) / 4096)[:, None]
    q = tuple(np.linspace(0, 1, 65).tolist())
    error = np.abs(accumulate(quantiles(q), x, 512)["value"] / lower(x, q) - 1).max()
    assert 0.009 < error <= 0.01


def test_a_growing_largest_value_leaves_the_same_counts_in_any_order():
    rng = np.random.default_rng(1)
    x = np.sort(10.0 ** rng.uniform(-20, 20, (512, 3)) * rng.choice([-1, 1], (512, 3)), 0)
    x = x[np.argsort(np.abs(x).max(1))].astype(np.float32)
    acc = quantiles(relative_error=0.1)
    update, merge = jax.jit(acc.update), jax.jit(acc.merge)
    start = acc.init(jax.ShapeDtypeStruct((3,), jnp.float32))

    def counts(order: np.ndarray) -> list:
        parts = [update(start, observe(part)) for part in np.split(x[order], 16)]
        state = parts[0]
        for part in parts[1:8]:
            state = merge(state, part)
        for part in np.split(x[order], 16)[8:]:
            state = update(state, observe(part))
        return np.asarray(state.counts.counter()).tolist()

    rising = counts(np.arange(512))
    assert rising == counts(np.arange(512)[::-1]) == counts(rng.permutation(512))
    assert np.sum(rising, 0).tolist() == [512] * 3


def test_what_sinks_below_the_floor_is_still_counted_past_32_bits():
    """2^33 ones beside one 1e6: the median is below the floor, the largest value is found."""
    acc = quantiles((0.5, 1.0))
    found = repeated(acc, [(np.float32([[1.0]]), 33), (np.float32([[1e6]]), 0)])
    assert found["value"][0] == 0 and found["floor"] > 1
    assert abs(found["value"][1] / 1e6 - 1) <= 0.01


@pytest.mark.parametrize("make", [quantiles, exact_quantiles])
def test_places_are_exact_past_32_bits(make):
    """2^33 ones and 2^33 + 1 threes: places 2^33 - 1 and 2^33 lie on either side, 2^-34 of all apart."""
    parts = [(np.float32([[1.0]]), 33), (np.float32([[3.0]]), 33), (np.float32([[3.0]]), 0)]
    below = 0.49999999993  # of 2^34 images, about 1.2 images short of the middle
    found = repeated(make((below, 0.5)), parts)["value"].ravel()
    np.testing.assert_allclose(found, [1, 3], rtol=0.01)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_order_statistics_are_exact_to_the_last_bit(data, bits):
    found = accumulate(exact_quantiles(Q, bits=bits), data[: IMAGES // 4], 2048)["value"]
    wanted = lower(data[: IMAGES // 4])
    np.testing.assert_array_equal(found.view(np.int32), (wanted + np.float32(0)).view(np.int32))
    same = np.quantile(data[: IMAGES // 4], (0.0, 0.5, 1.0), axis=0, method="lower")
    np.testing.assert_array_equal(found[[0, 3, 6]], same)


def test_any_bits_that_are_a_number_are_ordered_as_numpy_orders_them():
    """Every kind of float: subnormal, both zeros, the largest."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    x = np.concatenate([x[np.isfinite(x)], np.float32([0, -0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38])])
    q = tuple(np.linspace(0, 1, 33).tolist())
    found = accumulate(exact_quantiles(q, bits=16), x[:, None], len(x))["value"]
    np.testing.assert_array_equal(found, lower(x, q)[:, None])


def test_half_precision_and_a_single_image():
    x = np.array([[0.1], [-3.0], [7.0]], jnp.bfloat16)
    assert accumulate(exact_quantiles(0.5), x, 1)["value"].item() == float(x[0, 0])
    one = np.float32([[0.3]])
    assert accumulate(exact_quantiles((0.0, 0.5, 1.0)), one, 1)["value"].tolist() == [[one.item()]] * 3


def test_equal_questions_are_one_object():
    assert quantiles(0.5) is quantiles([0.5]) is quantiles((0.5,), relative_error=0.01)
    assert exact_quantiles() is exact_quantiles([0.25, 0.5, 0.75], bits=8)


MAP = jax.ShapeDtypeStruct((512, 512, 64), jnp.float32)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: quantiles(1.5), "each from 0 to 1"),
        (lambda: exact_quantiles(()), "one quantile or more"),
        (lambda: exact_quantiles((0.5, float("nan"))), "a finite number"),
        (lambda: quantiles(0.5, relative_error=0.0), "relative_error from 0.001"),
        (lambda: exact_quantiles(0.5, bits=5), "bits of 1, 2, 4, 8 or 16"),
        (lambda: exact_quantiles(0.5).init(jax.ShapeDtypeStruct((2,), jnp.int32)), "floating-point"),
        (lambda: quantiles(0.5).init(MAP), "fewer than 2\\^31 counts.*per_channel"),
        (lambda: exact_quantiles(0.5).init(MAP), "fewer than 2\\^31 counts.*per_channel"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PwactError, match=words):
        make()


def test_channels_of_maps_need_little_memory():
    state = jax.eval_shape(lambda: per_channel(exact_quantiles(0.5)).init(MAP))
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) < 2**20
