"""Memory-mapped arrays: larger than memory, the same content and the same fingerprint as in memory."""

import resource

import numpy as np
import pytest

from pwact.data import arrays, load, npy
from pwact.data.dataset import BLOCK
from pwact.errors import NonFiniteError, PwactError

IMAGES = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
LABELS = np.array([0, 2, 1, 2, 0])


def write(home, images, labels):
    np.save(home / "images.npy", images)
    np.save(home / "labels.npy", labels)
    return home


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, ">f8"])
def test_mapped_equals_in_memory(tmp_path, dtype):
    mapped = load(f"npy:{write(tmp_path, IMAGES.astype(dtype), LABELS)}")
    memory = arrays(IMAGES.astype(dtype), LABELS)
    ours, theirs = mapped.read([3, 1]), memory.read([3, 1])
    for own, other in zip(ours[:4], theirs[:4], strict=True):
        np.testing.assert_array_equal(own, other)
        assert own.dtype == other.dtype and type(own) is np.ndarray
    assert mapped.fingerprint == memory.fingerprint and mapped.index_hash == memory.index_hash
    assert (mapped.num_classes, mapped.image_shape) == (3, (4, 6, 3))


def test_fingerprint_over_several_blocks(tmp_path):
    images = np.random.default_rng(0).integers(
        0, 256, (2 * BLOCK // (512 * 1024) + 3, 512, 1024, 1), np.uint8
    )
    labels = np.zeros(len(images), int)
    assert npy(write(tmp_path, images, labels)).fingerprint == arrays(images, labels).fingerprint


def test_what_is_not_asked_for_is_not_read(tmp_path):
    """A sparse file of 64 GiB, more than the machine that it is tested on need have."""
    np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (2**20, 256, 256, 1))[2**19] = 9
    np.save(tmp_path / "labels.npy", np.zeros(2**20, np.int64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dataset = npy(tmp_path)
    assert dataset.read([2**19]).image.min() == 9 and dataset.read([2**20 - 1]).image.max() == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


def test_num_classes_leaves_room_for_classes_without_images(tmp_path):
    home = write(tmp_path, IMAGES, LABELS + 4)
    assert load(f"npy('{home}', num_classes=9)").num_classes == 9
    with pytest.raises(PwactError, match="subtract 4"):
        npy(home)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_named_on_reading(tmp_path, value):
    images = IMAGES.astype(np.float32)
    images[3, 1, 2, 0] = value
    dataset = npy(write(tmp_path, images, LABELS))
    dataset.read([0, 4])
    with pytest.raises(NonFiniteError, match="image 3"):
        dataset.read([0, 3])


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_a_broken_file_is_named(tmp_path, name):
    write(tmp_path, IMAGES, LABELS)
    whole = (tmp_path / name).read_bytes()
    for length in (0, 3, 20, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(PwactError, match=f"readable .npy.*{name}', broken"):
            npy(tmp_path)
    np.savez(tmp_path / "archive.npz", images=IMAGES)
    (tmp_path / "archive.npz").rename(tmp_path / name)
    with pytest.raises(PwactError, match="broken"):
        npy(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(PwactError, match=f"no file .*{name}"):
        npy(tmp_path)


def test_objects_are_refused(tmp_path):
    write(tmp_path, IMAGES, LABELS)
    np.save(tmp_path / "labels.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(PwactError, match="pickle can run code"):
        npy(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[..., 0], LABELS, "rank 4"),
        (IMAGES[:0], LABELS[:0], "at least one image"),
        (IMAGES.astype(np.int32), LABELS, "uint8 or floating point"),
        (IMAGES, LABELS[:3], "5 images and 3 labels"),
        (IMAGES, LABELS.astype(float), "integer labels"),
        (IMAGES, LABELS - 1, "label -1 at image 0"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path, images, labels, message):
    with pytest.raises(PwactError, match=message):
        npy(write(tmp_path, images, labels))


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(PwactError, match="no folder"):
        npy(tmp_path / "absent")
