"""The door for arrays: what comes in is checked, what is stored is not changed."""

import numpy as np
import pytest

from pwact.data import arrays
from pwact.errors import NonFiniteError, PwactError

IMAGES = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
LABELS = [0, 2, 1, 2, 0]


def test_uint8_is_kept_without_a_copy():
    dataset = arrays(IMAGES, LABELS, name="few")
    assert np.shares_memory(dataset.images, IMAGES)
    assert (len(dataset), dataset.image_shape, dataset.num_classes, dataset.name) == (5, (4, 6, 3), 3, "few")


def test_read_gives_images_labels_places_and_validity():
    batch = arrays(IMAGES, LABELS).read([3, 1])
    np.testing.assert_array_equal(batch.image, IMAGES[[3, 1]])
    assert batch.image.dtype == np.uint8
    assert batch.label.tolist() == [2, 2] and batch.label.dtype == np.int32
    assert batch.index.tolist() == [3, 1] and batch.index.dtype == np.int32
    assert batch.valid.tolist() == [True, True]


def test_reading_nothing_gives_an_empty_batch():
    assert arrays(IMAGES, LABELS).read([]).image.shape == (0, 4, 6, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_becomes_float32(dtype):
    assert arrays(np.ones((2, 3, 3, 1), dtype), [0, 1]).images.dtype == np.float32


def test_fingerprint_depends_on_pixels_labels_and_classes_only():
    base = arrays(IMAGES, LABELS).fingerprint
    assert arrays(IMAGES.copy(), LABELS, name="other").fingerprint == base
    changed = IMAGES.copy()
    changed[4, 3, 5, 2] ^= 1
    others = [
        arrays(changed, LABELS).fingerprint,
        arrays(IMAGES, [0, 2, 1, 2, 1]).fingerprint,
        arrays(IMAGES, LABELS, num_classes=4).fingerprint,
        arrays(IMAGES.astype(np.float32), LABELS).fingerprint,
        arrays(IMAGES.reshape(5, 6, 4, 3), LABELS).fingerprint,
    ]
    assert len({base, *others}) == 6


def test_a_class_may_hold_no_image():
    assert arrays(IMAGES, [0, 0, 0, 0, 0], num_classes=7).num_classes == 7


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (IMAGES[:0], [], {}, "at least one image; found an empty dataset"),
        (IMAGES[..., 0], LABELS, {}, "rank 4.*found rank 3.*images\\[..., None\\]"),
        (IMAGES[:, :, :0], LABELS, {}, "axes longer than 0"),
        (np.zeros((5, 3, 8, 8), np.uint8), LABELS, {}, "channel axis last.*transpose"),
        (IMAGES.astype(np.int64), LABELS, {}, "uint8 or floating point pixels; found int64"),
        (IMAGES.astype(object), LABELS, {}, "numeric images; found Python objects; .*np.stack"),
        ([IMAGES[0], IMAGES[1, :2]], [0, 1], {}, "images of one shape; found a ragged list.*resize"),
        (IMAGES, [[0], [1, 2], 1, 2, 0], {}, "labels of one shape; found a ragged list.*one integer"),
        (IMAGES, [0, None, 1, 2, 0], {}, "numeric labels; found Python objects; .*one integer"),
        (IMAGES, ["cat", "dog", "cat", "dog", "cat"], {}, "integer labels.*<U3"),
        (IMAGES.astype(np.complex64), LABELS, {}, "found complex64"),
        (IMAGES.astype(bool), LABELS, {}, "found bool"),
        (IMAGES, LABELS[:4], {}, "5 images and 4 labels"),
        (IMAGES, [0.0, 1.0, 2.0, 0.0, 1.0], {}, "integer labels.*float64"),
        (IMAGES, np.eye(5, dtype=int), {}, "integer labels.*argmax"),
        (IMAGES, [0, 2, 1, 3, 0], {"num_classes": 3}, "labels in 0 .. 2; found label 3 at image 3"),
        (IMAGES, [0, 2, -1, 2, 0], {}, "found label -1 at image 2"),
        (IMAGES, [1, 2, 1, 3, 2], {}, "labels that begin at 0.*labels 1 to 3; subtract 1"),
        (IMAGES, [0, 1, 2**32, 0, 1], {}, "num_classes as a whole number below"),
    ],
)
def test_what_is_no_dataset_is_refused(images, labels, options, message):
    with pytest.raises(PwactError, match=message):
        arrays(images, labels, **options)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_named(value):
    images = IMAGES.astype(np.float32)
    images[3, 1, 2, 0] = value
    with pytest.raises(NonFiniteError, match=f"{value} in image 3 at row 1, column 2, channel 0"):
        arrays(images, LABELS)


def test_float64_beyond_float32_is_not_silently_infinite():
    with pytest.raises(NonFiniteError, match="inf in image 0"):
        arrays(np.full((1, 3, 3, 1), 1e300), [0])


@pytest.mark.parametrize("indices", [[5], [-1], [[0]], [0.5], 3])
def test_indices_outside_or_of_another_kind_are_refused(indices):
    with pytest.raises(PwactError):
        arrays(IMAGES, LABELS).read(indices)


def test_masks_of_a_dataset_without_masks():
    with pytest.raises(PwactError, match="use a synthetic set"):
        arrays(IMAGES, LABELS, name="few").masks([0])


def test_images_of_a_dataset_stay_as_they_were_hashed():
    own = np.zeros((2, 2, 2, 1), np.uint8)
    dataset = arrays(own, [0, 1])
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 1
