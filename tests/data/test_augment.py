"""Augmentation: each image by its own key, on the device, and the same from NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.registry import resolve
from pwact.data import augment
from pwact.errors import PwactError

IMAGES = np.random.default_rng(0).integers(1, 256, (64, 6, 8, 3), np.uint8)
KEYS = augment.image_keys(jax.random.key(3), np.arange(64, dtype=np.int32))
RECIPES = {
    "crop": augment.crop(padding=2),
    "flip": augment.flip(),
    "cutout": augment.cutout(size=3, fill=7),
    "colour": augment.colour(0.4, 0.3, 0.2),
    "chain": augment.chain(augment.crop(1), augment.flip(), augment.cutout(2)),
}


@pytest.fixture(scope="module")
def results():
    return {name: np.asarray(jax.jit(recipe)(IMAGES, KEYS)) for name, recipe in RECIPES.items()}


def test_every_factory_has_a_recipe_here():
    assert set(RECIPES) == set(augment.__all__)


@pytest.mark.parametrize("name", RECIPES)
def test_shape_and_dtype_stay_and_images_do_not_meet(name, results):
    assert results[name].shape == IMAGES.shape and results[name].dtype == np.uint8
    assert (results[name] != IMAGES).any()
    some = [40, 3, 11]
    keys = augment.image_keys(jax.random.key(3), np.array(some, np.int32))
    np.testing.assert_array_equal(RECIPES[name](IMAGES[some], keys), results[name][some])


@pytest.mark.parametrize("name", RECIPES)
def test_what_it_says_makes_it_again(name):
    again = resolve(RECIPES[name].describe(), augment)
    assert again == RECIPES[name] and hash(again) == hash(RECIPES[name])


@pytest.mark.parametrize("name", RECIPES)
def test_grey_and_floating_point(name):
    grey = jnp.asarray(IMAGES[:4, ..., :1], jnp.float32)
    result = RECIPES[name](grey, KEYS[:4])
    assert result.dtype == jnp.float32 and result.shape == grey.shape
    if name != "colour":  # what only moves or fills gives the same in either dtype
        np.testing.assert_array_equal(result, RECIPES[name](IMAGES[:4, ..., :1], KEYS[:4]))


def test_crop_is_a_window_of_the_padded_image_and_reaches_all_places(results):
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for whole, found in zip(padded, results["crop"], strict=True):
        places = [(r, c) for r in range(5) for c in range(5) if (whole[r : r + 6, c : c + 8] == found).all()]
        assert len(places) == 1
        seen |= set(places)
    assert {r for r, _ in seen} == {c for _, c in seen} == set(range(5))


def test_flip_mirrors_about_half(results):
    mirrored = (results["flip"] == IMAGES[:, :, ::-1]).all((1, 2, 3))
    kept = (results["flip"] == IMAGES).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 12 <= mirrored.sum() <= 52  # five standard deviations of a fair coin thrown 64 times


def test_cutout_fills_one_rectangle_of_at_most_its_size(results):
    sizes = set()
    for found, image in zip(results["cutout"], IMAGES, strict=True):
        hit = (found != image).any(-1)
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        block = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (block == 7).all() and max(block.shape[:2]) <= 3
        sizes.add(block.shape[:2])
    assert (3, 3) in sizes and (2, 3) in sizes  # whole ones, and some cut by the border


def test_colour_against_numpy():
    recipe = augment.colour(brightness=0.4, contrast=0.3, saturation=0.2)
    result = np.asarray(recipe(IMAGES, KEYS), int)
    luma = np.array([0.299, 0.587, 0.114])
    for image, key, found in zip(IMAGES, KEYS, result, strict=True):
        f = 1 + np.array([0.4, 0.3, 0.2]) * np.asarray(jax.random.uniform(key, (3,), minval=-1), float)
        x = f[0] * image.astype(float)
        x = f[1] * (x - (x @ luma).mean()) + (x @ luma).mean()
        grey = (x @ luma)[..., None]
        # Rounding to whole numbers may fall the other way where float32 meets a half.
        np.testing.assert_allclose(found, np.round(np.clip(f[2] * (x - grey) + grey, 0, 255)), atol=1)
        exact = np.abs(found - np.round(np.clip(f[2] * (x - grey) + grey, 0, 255))) == 0
        assert exact.mean() > 0.99


def test_no_setting_of_colour_no_change():
    np.testing.assert_array_equal(augment.colour(0.0, 0.0, 0.0)(IMAGES, KEYS), IMAGES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.crop(0), "padding of at least 1"),
        (lambda: augment.cutout(0), "size of at least 1"),
        (lambda: augment.cutout(4, fill=256), "fill in 0 .. 255"),
        (lambda: augment.colour(brightness=1.5), "brightness in 0 .. 1"),
        (lambda: augment.chain(), "at least one augmentation"),
        (lambda: augment.flip()(IMAGES, KEYS[:3]), "3 keys for 64 images"),
        (lambda: augment.flip()(IMAGES.astype(np.int16), KEYS), "found int16"),
        (lambda: augment.colour()(IMAGES[..., :2], KEYS), "1 or 3 for colour"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(PwactError, match=message):
        make()
