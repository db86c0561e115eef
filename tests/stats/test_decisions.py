"""Accuracy, agreement, confusion and calibration: many images, more than 32 bits of them, and refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import accuracy, agreement, by_class, calibration_error, confusion, per_channel
from pwact.types import Observation

CLASSES, IMAGES, UNIT = 100, 100_000, 2.0**-24
SPEC = jax.ShapeDtypeStruct((1,), "float32")


def decisions(seed=0):
    """Logits from undecided to certain, labels that follow them more often than not."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(IMAGES, CLASSES)) * rng.uniform(0, 6, (IMAGES, 1))
    logits = logits.astype(np.float32)
    label = np.where(rng.random(IMAGES) < 0.6, logits.argmax(-1), rng.integers(0, CLASSES, IMAGES))
    return logits, label.astype(np.int32)


def observation(logits, label, valid=None):
    n = len(label)
    return Observation(
        *(jnp.zeros((n, 1)), label, jnp.asarray(logits.argmax(-1), jnp.int32), jnp.arange(n)),
        valid=jnp.ones(n, bool) if valid is None else valid,
        logits=jnp.asarray(logits),
    )


def results(acc, state):
    return {name: np.asarray(value.values) for name, value in jax.jit(acc.finalize)(state).items()}


def doubled(acc, state, times):
    merge = jax.jit(acc.merge)
    for _ in range(times):
        state = merge(state, state)
    return state


def confidences(logits):
    exact = logits.astype(np.float64)
    shares = np.exp(exact - exact.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True)).max(-1)


def test_calibration_of_many_images_is_that_of_float64():
    """Images nearer to the edge of a bin than the bound are left out of both."""
    logits, label = decisions()
    sure, right = confidences(logits), logits.argmax(-1) == label
    bound = (CLASSES + 16) * UNIT
    valid = np.abs(sure * 15 - np.round(sure * 15)) > 15 * bound
    assert 0.99 < valid.mean() < 1
    acc = calibration_error()
    seen = observation(logits, label, jnp.asarray(valid))
    update = jax.jit(acc.update)
    state = update(acc.init(SPEC), seen)
    found = results(acc, state)
    bins = np.minimum((sure * 15).astype(int), 14)
    count = np.bincount(bins[valid], minlength=15)
    assert (count > 100).all()
    confidence, hit = (
        np.bincount(bins[valid], weights=value[valid], minlength=15) / count for value in (sure, right)
    )
    gap = np.abs(hit - confidence)
    np.testing.assert_array_equal(found["count"], count)
    for name, value in (
        *(("confidence", confidence), ("accuracy", hit)),
        *(("ece", (gap * count).sum() / valid.sum()), ("mce", gap.max())),
    ):
        np.testing.assert_allclose(found[name], value, rtol=0, atol=bound, err_msg=name)

    order = np.random.default_rng(1).permutation(IMAGES)
    parts = jax.tree.map(lambda array: array[order].reshape(100, -1, *array.shape[1:]), seen)
    walked = acc.init(SPEC)
    for number in range(100):
        walked = acc.merge(update(acc.init(SPEC), jax.tree.map(lambda array: array[number], parts)), walked)  # noqa: B023
    jax.tree.map(np.testing.assert_array_equal, walked, state)


def test_counts_go_past_32_bits():
    logits, label = decisions()
    logits, label = logits[:1000], label[:1000]
    seen, right = observation(logits, label), (logits.argmax(-1) == label).sum()
    for acc in (accuracy(), calibration_error(), confusion(CLASSES)):
        state = jax.jit(acc.update)(acc.init(SPEC), seen)
        once, often = results(acc, state), results(acc, doubled(acc, state, 30))
        np.testing.assert_array_equal(often["count"], once["count"] * 2**30)
        assert often["count"].sum() == 1000 * 2**30
        for name in set(once) - {"count"}:
            np.testing.assert_allclose(often[name], once[name], rtol=4 * UNIT, err_msg=name)
    assert results(accuracy(), accuracy().update(accuracy().init(SPEC), seen))["accuracy"] == np.float32(
        right / 1000
    )


def test_certain_and_undecided_logits_have_their_bin():
    acc = calibration_error(bins=4)
    logits = np.array([[1e30, 0, -1e30, 0], [0, 0, 0, 0], [-3e38, -3e38, 3e38, -3e38]], np.float32)
    found = results(acc, acc.update(acc.init(SPEC), observation(logits, jnp.array([0, 1, 3]))))
    assert found["count"].tolist() == [1, 0, 0, 2]  # a quarter is the first bin's upper edge
    np.testing.assert_array_equal(found["confidence"], [0.25, np.nan, np.nan, 1])
    np.testing.assert_array_equal(found["accuracy"], [0, np.nan, np.nan, 0.5])
    np.testing.assert_allclose(found["ece"], 0.25 / 3 + 0.5 * 2 / 3, rtol=2 * UNIT)
    assert found["mce"] == 0.5


def test_recall_of_each_class_is_the_diagonal_of_the_confusion():
    logits, label = decisions()
    seen = observation(logits[:2000], jnp.asarray(label[:2000]))
    matrix = confusion(CLASSES)
    counts = results(matrix, matrix.update(matrix.init(SPEC), seen))["count"]
    recall = by_class(accuracy(), CLASSES)
    found = results(recall, jax.jit(recall.update)(recall.init(SPEC), seen))
    np.testing.assert_array_equal(found["count"], counts.sum(1))
    np.testing.assert_allclose(found["accuracy"], counts.diagonal() / counts.sum(1), rtol=2 * UNIT)
    reference = np.zeros((CLASSES, CLASSES), int)
    np.add.at(reference, (label[:2000], logits[:2000].argmax(-1)), 1)
    np.testing.assert_array_equal(counts, reference)


def test_what_is_missing_is_said():
    seen = observation(np.zeros((2, 3), np.float32), jnp.array([0, 1]))
    acc = calibration_error()
    with pytest.raises(PwactError, match="logits in the observation"):
        acc.update(acc.init(SPEC), seen._replace(logits=None))
    points = per_channel(acc)
    with pytest.raises(PwactError, match="per_channel"):
        points.update(points.init(SPEC), seen)
    few = confusion(2)
    with pytest.raises(PwactError, match=r"at most 2 logits for confusion\(num_classes=2\); found 3"):
        few.update(few.init(SPEC), seen)
    with pytest.raises(PwactError, match=r"a vector \[class\] of scores"):
        agreement().init(jax.ShapeDtypeStruct((2, 2, 3), "float32"))
    with pytest.raises(PwactError, match="floating-point"):
        agreement().init(jax.ShapeDtypeStruct((3,), "int32"))
    with pytest.raises(PwactError, match="bins of 1 or more"):
        calibration_error(bins=0)
    with pytest.raises(PwactError, match="num_classes of 1 or more"):
        confusion(0)
