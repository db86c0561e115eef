"""Image folders: what is on disk is what is read, and what is wrong is named."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from pwact.data import Dataset, folder, load, split
from pwact.errors import PwactError


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pets(tmp_path, rng):
    """Two classes of three RGB images of 6x8; the pixels by file."""
    pixels = {
        f"{kind}/{number}.png": rng.integers(0, 256, (6, 8, 3), np.uint8)
        for kind in ("cat", "dog")
        for number in range(3)
    }
    for file, image in pixels.items():
        save(tmp_path / "pets" / file, image)
    return tmp_path / "pets", pixels


def test_png_comes_back_bit_for_bit_in_any_order(pets):
    home, pixels = pets
    dataset = load(f"folder:{home}")
    assert isinstance(dataset, Dataset) and dataset.name == f"folder:{home}"
    assert dataset.image_shape == (6, 8, 3) and dataset.class_names == ("cat", "dog")
    batch = dataset.read([4, 0, 5])
    np.testing.assert_array_equal(batch.image, [pixels[f] for f in ("dog/1.png", "cat/0.png", "dog/2.png")])
    assert batch.image.dtype == np.uint8
    assert batch.label.tolist() == [1, 0, 1] and batch.index.tolist() == [4, 0, 5]
    assert dataset.read([]).image.shape == (0, 6, 8, 3)


def test_parts_of_a_folder_keep_their_places_in_the_whole(pets):
    home, pixels = pets
    part = split(folder(home), seed=0, fractions={"a": 0.5, "b": 0.5})["b"]
    batch = part.read(range(len(part)))
    np.testing.assert_array_equal(batch.image, [list(pixels.values())[i] for i in part.index])
    assert batch.index.tolist() == part.index.tolist()


def test_jpeg_grey_and_palette_files(tmp_path, rng):
    grey = rng.integers(0, 256, (8, 8), np.uint8)
    save(tmp_path / "a" / "1.JPG", grey, format="JPEG", quality=95)
    save(tmp_path / "b" / "2.jpeg", grey, quality=95)
    dataset = folder(tmp_path)
    assert dataset.image_shape == (8, 8, 1)
    with Image.open(tmp_path / "b" / "2.jpeg") as image:
        np.testing.assert_array_equal(dataset.read([1]).image[0, ..., 0], np.asarray(image))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    (tmp_path / "more" / "c").mkdir(parents=True)
    palette.save(tmp_path / "more" / "c" / "0.png")
    assert folder(tmp_path / "more").read([0]).image[0, 0, 0].tolist() == [10, 20, 30]


def test_mixed_sizes_are_scaled_to_cover_and_cropped_to_the_middle(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    save(tmp_path / "x" / "wide.png", wide)
    save(tmp_path / "y" / "own.png", np.full((4, 4, 3), 9, np.uint8))
    large = np.zeros((16, 16, 3), np.uint8)
    large[::2] = 100
    save(tmp_path / "y" / "striped.png", large)
    images = folder(tmp_path, image_size=4).read([0, 1, 2]).image
    assert (images[0] == 200).all()  # the middle third of the wide one
    assert (images[1] == 9).all()  # of the size that is asked for: untouched
    np.testing.assert_allclose(images[2].astype(int), 50, atol=15)  # stripes are averaged, not picked
    assert folder(tmp_path, image_size=(2, 5)).image_shape == (2, 5, 3)
    with pytest.raises(PwactError, match=r"one size.*\(4, 12\) in .*wide.png.*\(4, 4\) in .*own.png"):
        folder(tmp_path)


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((16, 8), np.uint8)
    upright[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise when shown
    save(tmp_path / "a" / "0.jpg", np.rot90(upright).copy(), exif=exif, quality=100)
    dataset = folder(tmp_path)
    assert dataset.image_shape == (16, 8, 1)
    image = dataset.read([0]).image[0, ..., 0]
    assert (image[:8] > 250).all() and (image[8:] < 5).all()


def test_mixed_channels_are_named_or_converted(pets, rng):
    home, pixels = pets
    grey = rng.integers(0, 256, (6, 8), np.uint8)
    save(home / "dog" / "3.png", grey)
    with pytest.raises(
        PwactError, match=r"one number of channels.*cat.0.png' and 1 in .*dog.3.png'.*channels=3"
    ):
        folder(home)
    colour = folder(home, channels=3).read([0, 6]).image
    np.testing.assert_array_equal(colour[0], pixels["cat/0.png"])
    np.testing.assert_array_equal(colour[1], np.repeat(grey[..., None], 3, -1))
    luma = folder(home, channels=1).read([0, 6]).image
    np.testing.assert_array_equal(luma[1, ..., 0], grey)
    # Pillow rounds the weights to 16 bits, so a grey value may differ by one from the formula in float64.
    np.testing.assert_allclose(luma[0, ..., 0], pixels["cat/0.png"] @ [0.299, 0.587, 0.114], atol=1)


def test_fingerprint_follows_bytes_names_and_options(pets, rng):
    home, _ = pets
    base = folder(home).fingerprint
    copy = shutil.copytree(home, home.parent / "copy")
    assert folder(copy).fingerprint == base
    assert folder(home, image_size=4).fingerprint != base
    assert folder(home, channels=1).fingerprint != base
    (copy / "cat" / "0.png").rename(copy / "cat" / "00.png")
    renamed = folder(copy).fingerprint
    save(copy / "cat" / "00.png", rng.integers(0, 256, (6, 8, 3), np.uint8))
    assert len({base, renamed, folder(copy).fingerprint}) == 3


def test_a_file_that_changes_after_it_was_listed(pets, rng):
    home, _ = pets
    dataset = folder(home)
    save(home / "dog" / "0.png", rng.integers(0, 256, (6, 8, 3), np.uint8))
    os.utime(home / "dog" / "0.png", ns=(1, 1))
    dataset.read([0])
    with pytest.raises(PwactError, match=r"dog.0.png', changed since"):
        dataset.read([3])
    with pytest.raises(PwactError, match="changed since"):
        _ = dataset.fingerprint


def test_a_corrupt_image_is_named(pets):
    home, _ = pets
    whole = (home / "dog" / "1.png").read_bytes()
    for length in (0, 4, 20):  # not even a header
        (home / "dog" / "1.png").write_bytes(whole[:length])
        with pytest.raises(PwactError, match=r"readable PNG or JPEG.*dog.1.png', broken"):
            folder(home)
    for length in (60, len(whole) // 2):  # a header, and pixels that end early
        (home / "dog" / "1.png").write_bytes(whole[:length])
        with pytest.raises(PwactError, match=r"dog.1.png', broken"):
            folder(home).read([4])
    broken = bytearray(whole)
    broken[60] ^= 0xFF
    (home / "dog" / "1.png").write_bytes(broken)
    with pytest.raises(PwactError, match=r"dog.1.png', broken"):
        folder(home).read([4])
    (home / "dog" / "1.png").write_bytes(b"GIF89a" + whole[6:])
    with pytest.raises(PwactError, match="broken"):
        folder(home)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "I;16"])
def test_modes_without_one_right_conversion_are_refused(tmp_path, mode):
    (tmp_path / "a").mkdir()
    name = "0.jpg" if mode == "CMYK" else "0.png"
    Image.new(mode, (4, 4)).save(tmp_path / "a" / name)
    with pytest.raises(PwactError, match=f"8-bit grey or RGB.*{mode}"):
        folder(tmp_path)


def test_hidden_files_are_passed_over_and_classes_are_sorted_by_name(pets):
    home, _ = pets
    (home / ".git").mkdir()
    (home / "cat" / ".DS_Store").touch()
    (home / "README").write_text("pets")
    assert folder(home).class_names == ("cat", "dog") and len(folder(home)) == 6


def test_a_folder_that_is_no_set_of_classes(pets):
    home, pixels = pets
    with pytest.raises(PwactError, match="no folder"):
        folder(home / "absent")
    (home / "empty").mkdir()
    with pytest.raises(PwactError, match=r"an image in every class folder.*none in .*empty"):
        folder(home)
    with pytest.raises(PwactError, match="found no subfolder"):
        folder(home / "empty")
    (home / "empty" / "notes.txt").touch()
    with pytest.raises(PwactError, match=r"files that end in .png.*notes.txt"):
        folder(home)
    with pytest.raises(PwactError, match=r"images only in the class folder .*a folder 'cat' in it"):
        folder(home.parent)
    save(home / "loose.png", pixels["cat/0.png"])
    with pytest.raises(PwactError, match="1 images in it that are in none"):
        folder(home)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image size above 0"),
        ({"image_size": (4, -1)}, "image size above 0"),
        ({"channels": 2}, "channels=1 or channels=3"),
    ],
)
def test_options_outside_their_range(pets, options, message):
    with pytest.raises(PwactError, match=message):
        folder(pets[0], **options)
