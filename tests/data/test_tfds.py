"""TFDS without TensorFlow: a small dataset is prepared here by TFDS itself and read back."""

import importlib.util
import io
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pwact.data import Dataset, load, split, tfds
from pwact.errors import PwactError

SIZES = {"train": 300, "test": 7}


def pictures(part, channels=3):
    rng = np.random.default_rng(SIZES[part])
    return rng.integers(0, 256, (SIZES[part], 6, 8, channels), np.uint8).squeeze()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


def prepare(home, features, example, name="tiny"):
    """A dataset in the layout of TFDS, by its own builder: example(part, number, pixels) -> features."""
    import tensorflow_datasets
    from tensorflow_datasets.core import registered

    def info(self):
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
        )

    def examples(part):
        for number, pixels in enumerate(pictures(part)):
            yield number, example(part, number, pixels)

    with registered.skip_registration():
        kind = type(
            name.capitalize(),
            (tensorflow_datasets.core.GeneratorBasedBuilder,),
            {
                "VERSION": tensorflow_datasets.core.Version("1.0.0"),
                "_info": info,
                "_split_generators": lambda self, manager: {part: examples(part) for part in SIZES},
                "_generate_examples": lambda self: None,
                "name": name,
            },
        )
    builder = kind(data_dir=str(home))
    builder.download_and_prepare(file_format="array_record")
    return home / name / "1.0.0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tensorflow_datasets import features

    return prepare(
        tmp_path_factory.mktemp("tfds"),
        {"image": features.Image(shape=(6, 8, 3)), "label": features.ClassLabel(names=["a", "b", "c"])},
        lambda part, number, pixels: {"image": png(pixels), "label": number % 3},
    )


def test_a_local_folder_gives_back_every_picture(tiny):
    dataset = load(f"tfds:{tiny}")
    assert isinstance(dataset, Dataset) and dataset.name == f"tfds:{tiny}"
    assert len(dataset) == 300 and dataset.image_shape == (6, 8, 3)
    assert dataset.num_classes == 3 and dataset.class_names == ("a", "b", "c")
    batch = dataset.read(np.arange(300))
    assert batch.image.dtype == np.uint8
    # TFDS shuffles as it prepares: the same pictures with the same labels, in another order.
    places = {image.tobytes(): number for number, image in enumerate(pictures("train"))}
    numbers = [places[image.tobytes()] for image in batch.image]
    assert sorted(numbers) == list(range(300))
    assert batch.label.tolist() == [number % 3 for number in numbers] == dataset.labels.tolist()


def test_any_order_splits_and_parts(tiny):
    whole = tfds(str(tiny))
    everything = whole.read(np.arange(300)).image
    np.testing.assert_array_equal(whole.read([299, 3, 3]).image, everything[[299, 3, 3]])
    assert len(tfds(str(tiny), split="test")) == 7 and len(tfds(str(tiny), split="train[:10%]")) == 30
    part = split(whole, seed=0)["test"]
    np.testing.assert_array_equal(part.read([5]).image[0], everything[part.index[5]])


def test_fingerprint_is_of_the_content(tiny, tmp_path):
    assert tfds(str(tiny)).fingerprint == tfds(str(tiny)).fingerprint
    assert tfds(str(tiny)).fingerprint != tfds(str(tiny), split="test").fingerprint
    assert tfds(str(tiny)).fingerprint != tfds(str(tiny), image_size=4).fingerprint


def test_by_name_from_the_directory_where_it_was_prepared(tiny):
    named = tfds("tiny", data_dir=tiny.parent.parent)
    assert named.fingerprint == tfds(str(tiny)).fingerprint


def test_image_size_scales_to_cover(tiny):
    dataset = tfds(str(tiny), image_size=(3, 3))
    assert dataset.read([0]).image.shape == (1, 3, 3, 3)


def test_tensorflow_is_not_needed_and_tfds_is_imported_only_when_it_is_asked_for(tiny):
    code = f"""
import sys
import pwact
assert "tensorflow_datasets" not in sys.modules
dataset = pwact.data.load("tfds:{tiny}")
dataset.read([1])
assert "tensorflow" not in sys.modules and "tensorflow_datasets" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifr10", "found 'cifr10'; nearest: cifar10"),
        ("/no/such/folder", "no folder '/no/such/folder'"),
        ("mnits", "nearest: .*mnist"),
        ("qqqqqqqqqq", "list_builders"),
        ("cifar10/none", "BuilderConfig none not found"),
        ("cifar10:9.9.9", "cannot be loaded at version 9.9.9"),
    ],
)
def test_names_that_do_not_exist(name, message, tmp_path):
    with pytest.raises(PwactError, match=message):
        tfds(name, data_dir=tmp_path)


def test_a_download_that_fails_says_what_to_do_at_once(tmp_path, monkeypatch):
    def unreachable(*arguments):
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(PwactError, match=r"no way to www.cs.toronto.edu; run python -c .*load tfds:PATH"):
        tfds("cifar10", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*.array_record*"))


def register(known, image):
    """Tell TFDS of a dataset, known by name and not prepared; image(pixels) is what its program yields."""
    import tensorflow_datasets
    from tensorflow_datasets import features

    kinds = {"image": features.Image(shape=(6, 8, 3)), "label": features.ClassLabel(num_classes=3)}

    class Known(tensorflow_datasets.core.GeneratorBasedBuilder):
        VERSION = tensorflow_datasets.core.Version("1.0.0")
        name = known

        def _info(self):
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=features.FeaturesDict(kinds), supervised_keys=("image", "label")
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, pixels in enumerate(pictures("test")):
                yield number, {"image": image(pixels), "label": number % 3}


def test_what_is_not_prepared_is_prepared_once(tmp_path, capsys):
    register("stored_pictures", png)
    dataset = tfds("stored_pictures", data_dir=tmp_path)
    assert len(dataset) == 7 and sorted(dataset.labels.tolist()) == [0, 0, 0, 1, 1, 2, 2]
    assert capsys.readouterr().out == ""
    assert tfds(str(tmp_path / "stored_pictures" / "1.0.0")).fingerprint == dataset.fingerprint


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_preparing_from_arrays_without_tensorflow_says_what_to_install(tmp_path):
    register("arrays_of_pixels", lambda pixels: pixels)
    with pytest.raises(PwactError, match=r"No module named 'tensorflow'.*pwact\[tensorflow\], copy"):
        tfds("arrays_of_pixels", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*.array_record*"))


def test_a_split_or_folder_that_is_not_there(tiny):
    with pytest.raises(PwactError, match=r"a split of tiny: .*train.*found 'validation'"):
        tfds(str(tiny), split="validation")
    with pytest.raises(PwactError, match=r"holds dataset_info.json; found .*1\.0\.0"):
        tfds(str(tiny.parent))


def test_a_dataset_without_labels_or_of_mixed_sizes(tmp_path):
    from tensorflow_datasets import features

    bare = prepare(
        tmp_path,
        {"image": features.Image(shape=(6, 8, 3)), "number": np.int32},
        lambda part, number, pixels: {"image": png(pixels), "number": number},
        "bare",
    )
    with pytest.raises(PwactError, match="an image and a class label in bare; found image"):
        tfds(str(bare))
    mixed = prepare(
        tmp_path,
        {"image": features.Image(shape=(None, None, 3)), "label": features.ClassLabel(num_classes=2)},
        lambda part, number, pixels: {"image": png(pixels[: 3 + number % 3]), "label": -(number % 2)},
        "mixed",
    )
    with pytest.raises(PwactError, match=r"images of one size.*give image_size"):
        tfds(str(mixed))
    unlabelled = tfds(str(mixed), image_size=4)
    with pytest.raises(PwactError, match=r"labels in 0 .. 1; found label -1"):
        _ = unlabelled.labels


def test_a_damaged_file_is_reported(tiny, tmp_path):
    import shutil

    copy = shutil.copytree(tiny, tmp_path / "copy")
    (shard,) = copy.glob("*train.array_record*")
    broken = bytearray(shard.read_bytes())
    broken[200:60000] = b"\x55" * 59800
    shard.write_bytes(broken)
    with pytest.raises(PwactError):
        tfds(str(copy)).read(np.arange(300))
