"""Selectivity on hard data against float64, and mutual information against its bias and closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.streaming.counter import Counter
from pwact.errors import PwactError
from pwact.stats import mutual_information, selectivity
from pwact.stats.firing import FiringState
from pwact.types import Observation

CLASSES, BATCH, UNIT = 5, 500, 2.0**-24


def result_of(acc, x, label, batch=BATCH):
    """Batches sorted by label, as a sweep hands them on, in one scan."""
    x = np.asarray(x, np.float32).reshape(-1, batch, *x.shape[1:])
    label = np.sort(np.asarray(label, np.int32).reshape(-1, batch), axis=1)

    @jax.jit
    def run(x, label):
        def step(state, now):
            zero = jnp.zeros(batch, jnp.int32)
            return acc.update(state, Observation(*now, zero, zero, jnp.ones(batch, bool))), None

        start = acc.init(jax.ShapeDtypeStruct(x.shape[2:], x.dtype))
        return acc.finalize(jax.lax.scan(step, start, (x, label))[0])

    return {name: np.asarray(value.values) for name, value in run(x, label).items()}


def reference(x, label):
    x, classes = np.asarray(x, np.float32).astype(np.float64), range(CLASSES)
    label = np.sort(label.reshape(-1, BATCH), axis=1).ravel()
    mean = np.stack([x[label == c].mean(0) for c in classes])
    d_prime = [
        (mean[c] - x[label != c].mean(0)) / np.sqrt((x[label == c].var(0) + x[label != c].var(0)) / 2)
        for c in classes
    ]
    between = sum((label == c).sum() * (mean[c] - x.mean(0)) ** 2 for c in classes)
    high = mean.max(0)
    rest = (mean.sum(0) - high) / (CLASSES - 1)
    spread = max(x[label == c].std(0).max() for c in classes)
    return (
        mean,
        np.array(d_prime),
        between / ((x - x.mean(0)) ** 2).sum(0),
        (high - rest) / (high + rest),
        spread,
    )


def hard_data(kind, images):
    rng = np.random.default_rng(3)
    label = rng.choice(CLASSES, images, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    sorted_label = np.sort(label.reshape(-1, BATCH), axis=1).ravel()
    noise = rng.gamma(2.0, size=(images, 6))
    mean = 0.2 * sorted_label[:, None] * np.arange(6)  # channel 0 tells the classes apart by nothing
    return {
        "plain": noise + mean,
        "offset": 1e5 + noise + mean,
        "tiny": 1e-15 * (noise + mean),
        "huge": 1e12 * (noise + mean),
        "ties": np.floor(noise + mean),
        "drift": noise + mean + np.linspace(0, 50, images)[:, None],
    }[kind], label


@pytest.mark.parametrize("kind", ["plain", "offset", "tiny", "huge", "ties", "drift"])
def test_hard_data_to_the_stated_bound(kind):
    """100,000 images in 200 batches. The bound is of the worst case; ten times less is what is seen."""
    x, label = hard_data(kind, 100_000)
    found = result_of(selectivity(CLASSES), x, label)
    mean, d_prime, eta_squared, index, spread = reference(x, label)
    k = 200 + BATCH + CLASSES
    assert (np.abs(found["d_prime"] - d_prime) <= 4 * k * UNIT * (1 + np.abs(d_prime)) / 10).all()
    assert (
        np.abs(found["eta_squared"] - eta_squared) <= 4 * k * UNIT * (eta_squared + np.sqrt(eta_squared)) / 10
    ).all()
    assert (
        np.abs(found["index"] - index) <= (8 + CLASSES) * UNIT + 2 * k * UNIT * spread / mean.max(0)
    ).all()
    close = mean.max(0) - k * UNIT * spread - 2 * UNIT * mean.max(0)
    assert (np.take_along_axis(mean, found["preferred"][None], 0)[0] >= close).all()
    np.testing.assert_array_equal(found["count"], np.bincount(label))


def test_what_cannot_be_divided_is_nan_and_what_overflows_is_infinite():
    label = np.array([0, 0, 1, 1])
    x = np.array(
        #  dead, constant, negative, no spread within, too large
        [[0, 3, -1, 1, 3e38], [0, 3, 2, 1, -3e38], [0, 3, -4, 2, 3e38], [0, 3, -5, 2, -3e38]],
        np.float32,
    )
    found = result_of(selectivity(3), x, label, batch=4)
    np.testing.assert_array_equal(found["count"], [2, 2, 0])
    np.testing.assert_array_equal(found["index"], np.array([np.nan, 0, np.nan, 1 / 3, np.inf], np.float32))
    np.testing.assert_array_equal(found["preferred"][:4], [0, 0, 0, 1])
    np.testing.assert_array_equal(found["eta_squared"][[0, 1, 3, 4]], [np.nan, np.nan, 1, np.inf])
    assert np.isnan(found["d_prime"][:2, [0, 1, 3]]).all() and np.isinf(found["d_prime"][:, 4]).all()
    assert np.isnan(found["d_prime"][2, :4]).all()
    np.testing.assert_array_equal(found["d_prime"][0, 2], -found["d_prime"][1, 2])


def test_large_means_do_not_overflow_the_index():
    found = result_of(selectivity(2), np.array([[3e38], [1e38]], np.float32), np.array([0, 1]), batch=2)
    assert np.isinf(found["index"]).all()  # their variance does
    found = result_of(selectivity(2), np.array([[1.8e19], [6e18]], np.float32), np.array([0, 1]), batch=2)
    np.testing.assert_allclose(found["index"], 0.5, rtol=4 * UNIT)


def test_one_class_alone_tells_nothing():
    found = result_of(selectivity(2), np.ones((4, 1)), np.zeros(4), batch=4)
    assert found["preferred"].tolist() == [0]
    assert np.isnan([found["index"][0], found["eta_squared"][0], *found["d_prime"].ravel()]).all()
    nothing = selectivity(2)
    empty = jax.jit(nothing.finalize)(nothing.init(jax.ShapeDtypeStruct((1,), "float32")))
    assert empty["preferred"].values.tolist() == [-1]


def test_without_relation_the_raw_information_is_its_bias_and_the_corrected_none():
    """4,000 points: the standard error of their mean is bias / sqrt(4000 * 3 / 2)."""
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(200, 4000)), rng.permutation(np.arange(200) % 4)
    found = result_of(mutual_information(4), x, label, batch=200)
    bias = 3 / (2 * 200 * np.log(2))
    assert abs(found["raw"].mean() / bias - 1) < 0.06
    assert abs(found["corrected"].mean()) < 0.05 * bias


def exactly(high, low):
    return Counter(jnp.asarray(high, jnp.uint32), jnp.asarray(low, jnp.uint32))


def test_information_of_more_images_than_32_bits_count():
    """2^40 images of each of two classes; a point that fires for all but five of one class."""
    images = exactly([256, 256], [0, 0])
    fired = exactly([[256, 256, 255, 128], [0, 256, 0, 128]], [[0, 0, 2**32 - 5, 0], [0, 0, 0, 0]])
    finalize = jax.jit(mutual_information(2).finalize)
    found = finalize(FiringState(images, fired))
    raw, corrected = (np.asarray(found[name].values) for name in ("raw", "corrected"))
    np.testing.assert_allclose(raw, [1, 0, 1, 0], atol=66 * UNIT)
    assert (raw >= 0).all()
    np.testing.assert_allclose(corrected, raw, atol=1e-11)
    np.testing.assert_array_equal(np.asarray(found["count"].values), [2**40, 2**40])
    # Three of four pairs occur: 2 + 2 - 3 - 1 is no correction at all.
    found = mutual_information(2).finalize(
        FiringState(exactly([0, 0], [2, 2]), exactly([[0], [0]], [[1], [0]]))
    )
    table = np.array([[1, 0], [1, 2]]) / 4
    product = table.sum(0) * table.sum(1)[:, None]
    expected = sum(p * np.log2(p / q) for p, q in zip(table.ravel(), product.ravel(), strict=True) if p > 0)
    np.testing.assert_allclose(found["raw"].values, expected, atol=66 * UNIT)
    np.testing.assert_allclose(found["corrected"].values, expected, atol=66 * UNIT)


@pytest.mark.parametrize("make", [selectivity, mutual_information])
def test_classes_are_a_whole_number(make):
    with pytest.raises(PwactError, match="num_classes of 1 or more"):
        make(0)


def test_a_threshold_is_a_number():
    with pytest.raises(PwactError, match="threshold as a finite number"):
        mutual_information(2, threshold=np.nan)
