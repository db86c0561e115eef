"""Stability of count, mean, variance, skewness and kurtosis, against float64 NumPy."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import by_class, moments
from pwact.types import Observation

UNIT = 2.0**-24


def accumulate(acc, x, label, batch):
    """All of x in batches, in one compiled scan."""
    count = len(x)
    index = np.arange(count, dtype=np.int32)
    seen = Observation(x, label, label, index, np.ones(count, bool))
    batches = jax.tree.map(lambda array: jnp.asarray(array.reshape(-1, batch, *array.shape[1:])), seen)

    @jax.jit
    def run(batches):
        state = acc.init(jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
        return acc.finalize(
            jax.lax.scan(lambda state, one: (acc.update(state, one), None), state, batches)[0]
        )

    return {name: np.asarray(value.values) for name, value in run(batches).items()}


STREAMS = {
    "offset": lambda rng, n: 1e6 + rng.uniform(-1, 1, n),
    "first image far away": lambda rng, n: np.where(np.arange(n) == 0, 1e6, rng.normal(size=n)),
    "fires once": lambda rng, n: np.where(np.arange(n) == 3, 5.0, 0.0),
    "drifts": lambda rng, n: np.linspace(0, 1e5, n) + rng.normal(size=n),
    "steps": lambda rng, n: np.where(np.arange(n) < n // 2, -1e6, 1e6) + rng.normal(size=n),
    "swings out": lambda rng, n: 1e3 * np.sin(20 * np.log(np.arange(n) + 1.0)) * np.arange(n),
    "heavy": lambda rng, n: np.exp(2 * rng.normal(size=n)),
    "tiny": lambda rng, n: 1e-15 * rng.exponential(size=n),
    "huge": lambda rng, n: 1e15 * rng.exponential(size=n),
    "last image far away": lambda rng, n: np.where(np.arange(n) == n - 1, 1e4, rng.normal(size=n)),
    "two values": lambda rng, n: rng.choice([-1.7, 1.7], n),
    "two values in turn": lambda rng, n: np.where(np.arange(n) % 2, -1.7, 1.7),
    "rarely on": lambda rng, n: np.maximum(rng.normal(size=n) - 1, 0),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_number_of_updates_does_not_loosen_the_stated_bounds(stream):
    """A million images in blocks of 8. Plain sums of the two values lose 1e-3 of the variance, and fourth
    powers of what is tiny or huge lie outside float32."""
    images, batch = 1 << 20, 8
    x = STREAMS[stream](np.random.default_rng(0), images).astype(np.float32)[:, None]
    found = accumulate(moments(order=4), x, np.zeros(images, np.int32), batch)
    exact, unit = x.astype(np.float64), (batch + 4) * UNIT
    mean, sigma = exact.mean(0), exact.std(0)
    z = (exact - mean) / sigma
    assert found["count"] == images
    assert (np.abs(found["mean"] - mean) <= 2 * UNIT * np.abs(mean) + unit * sigma).all()
    np.testing.assert_allclose(found["variance"], exact.var(0), rtol=4 * unit)
    np.testing.assert_allclose(
        found["skewness"], (z**3).mean(0), rtol=0, atol=8 * unit * np.mean(np.abs(z) ** 3)
    )
    np.testing.assert_allclose(found["kurtosis"], (z**4).mean(0), rtol=16 * unit)


@pytest.mark.parametrize("batch", (64, 1024))
def test_the_bound_holds_where_the_first_image_of_a_large_batch_lies_far_away(batch):
    x = STREAMS["first image far away"](np.random.default_rng(0), 1 << 16).astype(np.float32)[:, None]
    found = accumulate(moments(), x, np.zeros(len(x), np.int32), batch)
    np.testing.assert_allclose(found["variance"], x.astype(np.float64).var(0), rtol=4 * (batch + 4) * UNIT)


def test_merging_a_thousand_states_one_after_the_other_costs_ten_roundings():
    x = np.random.default_rng(3).choice([-1.7, 1.7], (1024, 8, 1)).astype(np.float32)
    acc, zero = moments(), jnp.zeros(8, jnp.int32)

    @functools.partial(jax.jit, static_argnums=1)
    def merged(x, old_first):
        start = acc.init(jax.ShapeDtypeStruct((1,), jnp.float32))

        def step(state, images):
            own = acc.update(start, Observation(images, zero, zero, zero, jnp.ones(8, bool)))
            return (acc.merge(state, own) if old_first else acc.merge(own, state)), None

        return acc.finalize(jax.lax.scan(step, start, x)[0])["variance"].values

    exact = x.astype(np.float64).reshape(-1, 1).var(0)
    for old_first in (True, False):
        np.testing.assert_allclose(merged(jnp.asarray(x), old_first), exact, rtol=(4 * (8 + 4) + 10) * UNIT)


def test_fourth_powers_merge_as_they_are_added():
    """Halves a thousand sigma apart, and one of them a hundred times as large as the other."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.exponential(size=8192), 1e3 + 0.1 * rng.normal(size=64)]).astype(np.float32)[
        :, None
    ]
    acc = moments(order=4)

    def state_of(x):
        zero = jnp.zeros(len(x), jnp.int32)
        seen = Observation(jnp.asarray(x), zero, zero, zero, jnp.ones(len(x), bool))
        return acc.update(acc.init(jax.ShapeDtypeStruct((1,), jnp.float32)), seen)

    exact = x.astype(np.float64)
    z = (exact - exact.mean(0)) / exact.std(0)
    for parts in ((x[:8192], x[8192:]), (x[8192:], x[:8192])):
        result = acc.finalize(acc.merge(*map(state_of, parts)))
        for name, power in (("skewness", 3), ("kurtosis", 4)):
            np.testing.assert_allclose(result[name].values, (z**power).mean(0), rtol=1e-5)


def test_order_two_is_as_it_is_within_order_four():
    x = np.random.default_rng(5).normal(size=(256, 3)).astype(np.float32)
    two, four = (accumulate(moments(order), x, np.zeros(256, np.int32), 8) for order in (2, 4))
    assert set(four) - set(two) == {"skewness", "kurtosis"}
    for name in two:
        np.testing.assert_allclose(four[name], two[name], rtol=UNIT)


def test_classes_far_apart_keep_their_own_variance():
    """Means 1e6 apart, variance one inside each: a pivot shared by classes would be off by 1e5."""
    images, batch, classes = 4096, 16, 5
    rng = np.random.default_rng(2)
    label = rng.integers(0, classes, images).astype(np.int32)
    x = (1e6 * label[:, None] + rng.normal(size=(images, 3))).astype(np.float32)
    found = accumulate(by_class(moments(), classes + 1), x, label, batch)
    for c in range(classes):
        own = x[label == c].astype(np.float64)
        assert found["count"][c] == len(own)
        np.testing.assert_allclose(found["variance"][c], own.var(0), rtol=4 * (batch + 4) * UNIT)
    assert found["count"][classes] == 0 and np.isnan(found["mean"][classes]).all()


def test_counts_are_exact_where_float32_and_int32_are_not():
    acc, spec = moments(), jax.ShapeDtypeStruct((1,), jnp.float32)
    one = Observation(jnp.ones((1, 1)), *(jnp.zeros(1, jnp.int32),) * 3, jnp.ones(1, bool))
    state = acc.update(acc.init(spec), one)
    for _ in range(33):
        state = acc.merge(state, state)
    state = acc.update(state, one)
    assert int(np.asarray(acc.finalize(state)["count"].values)) == 2**33 + 1


def test_half_precision_is_summed_in_float32():
    x = np.full((4096, 1), 0.1, jnp.bfloat16)
    found = accumulate(moments(), x, np.zeros(4096, np.int32), 16)
    assert found["mean"].dtype == np.float32
    assert found["mean"] == np.float32(jnp.bfloat16(0.1)) and found["variance"] == 0


def test_overflow_is_infinite_and_not_missing():
    x = np.array([[3e38], [-3e38]], np.float32)
    assert np.isinf(accumulate(moments(), x, np.zeros(2, np.int32), 2)["variance"]).all()


@pytest.mark.parametrize("order", (1, 5, True))
def test_other_orders_are_refused(order):
    with pytest.raises(PwactError, match="order"):
        moments(order=order)


def test_integers_are_refused():
    with pytest.raises(PwactError, match="floating-point"):
        moments().init(jax.ShapeDtypeStruct((3,), jnp.int32))
