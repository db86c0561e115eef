"""Overlap with object masks: interpolation, chance and ceiling, hard cases, against float64 NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.receptive_field import ReceptiveField
from pwact.errors import PwactError
from pwact.stats import overlap, per_channel

from .passes import accumulate, observe, repeated

SPEC = jax.ShapeDtypeStruct((3, 4, 2), jnp.float32)


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(jax.image.resize(x, (len(x), height, width, x.shape[-1]), "bilinear"), np.float64)


def by_numpy(up: np.ndarray, mask: np.ndarray, threshold: np.ndarray) -> dict[str, np.ndarray]:
    active, objects = up > threshold, mask[..., None]
    axes = (0, 1, 2)
    both, either = (active & objects).sum(axes), (active | objects).sum(axes)
    return {"intersection": both, "union": either, "iou": both / either, "active_share": active.mean(axes)}


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (13, 9), (24, 32)])
def test_any_resolution_of_masks_is_that_of_bilinear_resizing(size):
    rng = np.random.default_rng(sum(size))
    x = rng.normal(size=(512, 3, 4, 5)).astype(np.float32)
    mask = rng.random((512, *size)) < 0.3
    found = accumulate(overlap(0.9), x, 64, mask)
    threshold = np.quantile(x.reshape(-1, 5), 0.9, axis=0, method="lower")
    assert found["threshold"].tolist() == threshold.tolist()
    up = resized(x, *size)
    # What rounding may put on either side of the threshold is no more than the two programs differ by.
    near = (np.abs(up - threshold) < 1e-6).sum((0, 1, 2)) if size != (3, 4) else 0
    for name in ("intersection", "union"):
        assert (np.abs(found[name] - by_numpy(up, mask, threshold)[name]) <= near).all(), name
    assert np.max(near) < 20


def test_many_images_of_ties_are_counted_exactly():
    """Whole numbers at twice the resolution: nothing is rounded, and a third of them are the threshold."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 3, (16_384, 3, 4, 2)).astype(np.float32)
    x[..., 1] = 7
    mask = rng.random((16_384, 6, 8)) < 0.25
    found = accumulate(overlap(0.6), x, 1024, mask)
    assert found["threshold"].tolist() == [1, 7]
    wanted = by_numpy(resized(x, 6, 8), mask, np.float32([1, 7]))
    for name in ("intersection", "union"):
        assert found[name].tolist() == wanted[name].tolist()
    np.testing.assert_allclose(found["iou"], wanted["iou"], rtol=2.0**-21)
    assert (
        found["active_share"][1] == 0 and found["union"][1] == mask.sum()
    )  # a constant is never above itself
    assert found["iou"][1] == 0 and np.isnan(found["normalised"][1])


def test_a_channel_that_is_the_mask_reaches_the_ceiling_and_one_without_relation_chance():
    rng = np.random.default_rng(4)
    mask = rng.random((4096, 6, 6)) < 0.1
    x = np.stack([mask + 0.01 * rng.random(mask.shape), rng.random(mask.shape)], -1).astype(np.float32)
    found = accumulate(overlap(1 - float(mask.mean())), x, 512, mask)
    a, m = found["active_share"].astype(np.float64), mask.mean()
    np.testing.assert_allclose(found["object_share"], m, rtol=1e-6)
    np.testing.assert_allclose(found["chance"], a * m / (a + m - a * m), rtol=2.0**-20)
    np.testing.assert_allclose(found["ceiling"], np.minimum(a, m) / np.maximum(a, m), rtol=2.0**-21)
    np.testing.assert_allclose(found["normalised"][0], 1, atol=1e-5)
    # 147,456 pixels: the standard error of an IoU at chance, 0.05, is about 0.0014, of a share of it 0.0015.
    assert abs(found["normalised"][1]) < 5 * 0.0015


def test_the_top_share_of_values_is_what_was_asked_for():
    x = np.random.default_rng(5).random((2000, 2, 2, 3)).astype(np.float32)
    found = accumulate(overlap(), x, 500, np.ones((2000, 2, 2), bool))
    assert (np.abs(found["active_share"] * 8000 - 0.005 * 8000) <= 1).all()
    np.testing.assert_allclose(found["chance"], found["active_share"], rtol=1e-5)  # the object is everywhere


def test_a_receptive_field_says_where_a_point_lies():
    """A map of 4 from an image of 6 by 3x3 windows without padding: its middles are pixels 1 to 4."""
    x = np.arange(4 * 4, dtype=np.float32).reshape(1, 4, 4, 1)
    mask = np.zeros((1, 6, 6), bool)
    mask[0, 4:, 4:] = True
    field = ReceptiveField((3, 3), (1, 1), (0, 0), ((0, 6), (0, 6)), (6, 6))
    found = accumulate(overlap(14 / 15, receptive_field=field), x, 1, mask)
    assert found["threshold"] == 14 and found["intersection"] == 4 and found["union"] == 4
    # Resized, the last point has its middle at 4.75, so pixel 4 is 0.375 short of it and 5 points below.
    plain = accumulate(overlap(10 / 15), x, 1, mask)
    wanted = by_numpy(resized(x, 6, 6), mask, np.float32([10]))
    assert plain["union"].tolist() == wanted["union"].tolist()
    assert overlap(14 / 15, receptive_field=field) is overlap(14 / 15, receptive_field=field)


def test_pixels_are_counted_past_32_bits():
    x, mask = np.float32([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1), np.eye(2, dtype=bool)[None]
    acc = overlap(0.5)
    masked = acc._replace(update=lambda state, seen: acc.update(state, seen._replace(mask=jnp.asarray(mask))))
    found = repeated(masked, [(x, 33)])
    assert found["intersection"].tolist() == [2**33] and found["union"].tolist() == [3 * 2**33]


def test_nothing_seen_is_undefined():
    result = overlap().finalize(overlap().init(SPEC))
    for name, value in result.items():
        found = np.asarray(value.values)
        assert (found == 0).all() if name in ("intersection", "union") else np.isnan(found).all()


FIXED = ReceptiveField((6, 6), (0, 0), (0, 0), ((0, 6), (0, 6)), (6, 6))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: overlap(1.5), "quantile from 0 to 1"),
        (lambda: overlap(receptive_field=FIXED), "a receptive field that moves"),
        (lambda: overlap().init(jax.ShapeDtypeStruct((4,), jnp.float32)), "an activation map"),
        (lambda: overlap().init(jax.ShapeDtypeStruct((4, 4, 1), jnp.int32)), "floating-point"),
        (
            lambda: overlap().update(overlap().init(SPEC), observe(np.zeros((1, 3, 4, 2), np.float32))),
            "object masks in the dataset",
        ),
        (lambda: per_channel(overlap()).init(SPEC), "an activation map"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PwactError, match=words):
        make()
