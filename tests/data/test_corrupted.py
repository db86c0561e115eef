"""Common corruptions against closed forms, and the laws that all of them hold."""

import io

import jax
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from pwact.data import arrays, bag, corrupted, corruptions, digits, load, split, subset
from pwact.data.corruptions.blur import disc
from pwact.data.corruptions.level import Level
from pwact.errors import PwactError

SMALL = [Level(severity, True) for severity in range(1, 6)]
#: Whose levels differ in kind: less colour and then more, another mixture of blur and distance, other flakes.
UNORDERED = {"saturate", "elastic_transform", "glass_blur", "snow"}
LARGE = [Level(severity, False) for severity in range(1, 6)]


def smooth(shape, seed=0):
    """A picture with slopes and an edge, whose numbers are multiples of 1/255."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: shape[0], : shape[1]] / max(shape)
    waves = [np.sin(6 * (row * a + column * b)) for a, b in rng.normal(size=(shape[2], 2))]
    image = np.clip(0.5 + 0.3 * np.stack(waves, -1) + 0.2 * (row > 0.4)[..., None], 0, 1)
    return np.round(image * 255) / 255


def photos(count=6, size=32, channels=3):
    images = np.stack([smooth((size, size, channels), seed) for seed in range(count)])
    return arrays(np.round(images * 255).astype(np.uint8), np.arange(count) % 3, num_classes=3, name="photos")


def apply(name, x, level, seed=0):
    return getattr(corruptions, name)(x, level, np.random.default_rng(seed))


@pytest.mark.parametrize("name", corruptions.__all__)
def test_deterministic_by_key_and_place_whatever_batch_order_and_part(name):
    data = photos()
    hard = corrupted(data, name, severity=4, key=7)
    all_at_once = hard.read(range(6)).image
    assert all_at_once.dtype == np.uint8 and (all_at_once != data.images).any()
    np.testing.assert_array_equal(hard.read([5, 2]).image, all_at_once[[5, 2]])
    part = corrupted(subset(data, [1, 4]), name, severity=4, key=7)
    np.testing.assert_array_equal(part.read([1]).image, all_at_once[[4]])
    assert part.read([0, 1]).index.tolist() == [1, 4]
    again = subset(corrupted(data, name, severity=4, key=7), [1, 4])
    assert again.fingerprint == part.fingerprint and again.index_hash == part.index_hash


@pytest.mark.parametrize("levels", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", sorted(set(corruptions.__all__) - UNORDERED))
def test_each_severity_is_further_from_the_image(name, levels):
    """Mean squared distance over eight pictures. Those of `UNORDERED` are not ordered as published."""
    pictures = [smooth((32, 32, 3) if levels[0].small else (96, 96, 3), seed) for seed in range(8)]
    far = [
        np.mean([(np.clip(apply(name, x, level, seed), 0, 1) - x) ** 2 for seed, x in enumerate(pictures)])
        for level in levels
    ]
    assert (np.diff(far) > 0).all() and far[0] > 0


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (9, 17, 3), (70, 90, 1)])
@pytest.mark.parametrize("name", corruptions.__all__)
def test_grey_small_and_oblong_images(name, shape):
    if name == "saturate" and shape[2] == 1:
        with pytest.raises(PwactError, match="3 channels for saturate"):
            corrupted(photos(channels=1), name)
        return
    x = smooth(shape)
    for level in (SMALL[4], LARGE[4]):
        result = apply(name, x, level)
        assert result.shape == shape and np.isfinite(result).all()
        black, white = apply(name, np.zeros(shape), level), apply(name, np.ones(shape), level)
        assert np.isfinite(black).all() and np.isfinite(white).all()


def test_gaussian_and_speckle_noise_have_the_published_deviations():
    x = np.full((128, 128, 3), 0.5)
    for level, c in zip(SMALL, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True):
        # The deviation of 49,152 draws is itself known to 1 / sqrt(2 * 49,152) = 0.32 %; five of those.
        assert apply("gaussian_noise", x, level).std() == pytest.approx(c, rel=0.016)
    for level, c in zip(LARGE, (0.15, 0.20, 0.35, 0.45, 0.60), strict=True):
        assert apply("speckle_noise", x, level).std() == pytest.approx(0.5 * c, rel=0.016)


def test_shot_noise_counts_quanta():
    c = 60
    quanta = apply("shot_noise", np.full((100, 100, 3), 0.3), LARGE[0]) * c
    np.testing.assert_allclose(quanta, np.round(quanta), atol=1e-9)
    counts = np.bincount(np.round(quanta).astype(int).ravel(), minlength=60)[:60]
    expected = scipy.stats.poisson.pmf(np.arange(60), 0.3 * c) * quanta.size
    used = expected > 5
    statistic = ((counts - expected)[used] ** 2 / expected[used]).sum()
    assert scipy.stats.chi2.sf(statistic, used.sum() - 1) > 1e-4


def test_impulse_noise_hits_the_published_share_half_up_half_down():
    x = np.full((200, 200, 3), 0.5)
    result = apply("impulse_noise", x, LARGE[4])
    assert set(np.unique(result)) == {0.0, 0.5, 1.0}
    for value in (0.0, 1.0):  # five standard errors of a share of 120,000
        assert (result == value).mean() == pytest.approx(0.135, abs=5 * np.sqrt(0.135 * 0.865 / x.size))


def test_blurs_of_a_point_are_their_kernels():
    point = np.zeros((33, 33, 1))
    point[16, 16] = 1
    distance = (np.mgrid[:33, :33] - 16) ** 2
    for level, c in zip(LARGE[:2], (1.0, 2.0), strict=True):
        kernel = np.exp(-distance.sum(0) / (2 * c**2)) * (distance <= (4 * c) ** 2).all(0)
        np.testing.assert_allclose(
            apply("gaussian_blur", point, level)[..., 0], kernel / kernel.sum(), atol=1e-12
        )
    inside = (distance.sum(0) <= 9).astype(float)
    # Softness 0.1 leaves exp(-50) to the neighbours.
    np.testing.assert_allclose(
        apply("defocus_blur", point, LARGE[0])[..., 0], inside / inside.sum(), atol=1e-12
    )
    assert disc(10.0, 0.5).shape == (21, 21) and disc(0.3, 0.4).shape == (3, 3)
    middle = 1 / (1 + 2 * np.exp(-1 / (2 * 0.4**2)))
    assert disc(0.3, 0.4)[1, 1] == pytest.approx(middle**2, rel=1e-12)


def test_motion_blur_spreads_a_point_along_one_side_of_a_line():
    point = np.zeros((101, 101, 1))
    point[50, 50] = 1
    for seed in range(5):
        spread = apply("motion_blur", point, LARGE[4], seed)[..., 0]
        rows, columns = np.nonzero(spread)
        assert spread.sum() == pytest.approx(1) and (columns <= 50).all() and spread[50, 50] > 0
        angle = np.deg2rad(np.random.default_rng(seed).uniform(-45, 45))
        away = (rows - 50) * np.cos(angle) - (columns - 50) * np.sin(angle)
        assert np.abs(away).max() < 0.75  # half a pixel's diagonal, at most, from the line
        along = (50 - rows) * np.sin(angle) + (50 - columns) * np.cos(angle)
        step = np.arange(41)
        weight = np.exp(-(step**2) / (2 * 15.0**2))
        mean = (step * weight).sum() / weight.sum()  # of steps, each moved by half a diagonal at most
        assert (along * spread[rows, columns]).sum() == pytest.approx(mean, abs=0.71)


def test_zoom_blur_keeps_the_middle_and_what_is_flat():
    x = np.zeros((33, 33, 1))
    x[10:23, 10:23] = 1
    result = apply("zoom_blur", x, SMALL[4])
    assert result[16, 16] == pytest.approx(1) and 0 < result[9, 16, 0] < 1
    np.testing.assert_allclose(apply("zoom_blur", np.full((32, 32, 3), 0.3), LARGE[4]), 0.3, atol=1e-6)


def test_glass_blur_only_moves_pixels_a_little():
    rng = np.random.default_rng(0)
    x = rng.permutation(32 * 32).reshape(32, 32, 1) / 1024  # each number once
    # A Gaussian of 0.05 leaves exp(-200) to the neighbours, so that the first level copies and nothing else.
    result = apply("glass_blur", x, SMALL[0])
    where = {value: place for place, value in np.ndenumerate(x[..., 0])}
    places = np.array([where[min(where, key=lambda v: abs(v - value))] for value in result.ravel()])
    np.testing.assert_allclose(x[places[:, 0], places[:, 1], 0], result.ravel(), atol=1e-12)
    moved = (places - np.argwhere(np.ones((32, 32)))).reshape(32, 32, 2)
    assert (moved[[0, 1]] == 0).all() and (moved[:, [0, 1]] == 0).all()  # the border
    assert moved.min() == -1 and moved.max() == 0  # it takes what is not yet changed, up and to the left
    assert 0.65 < (moved[2:, 2:] != 0).any(-1).mean() < 0.85  # three in four


def test_the_first_elastic_transform_is_affine_and_moves_within_its_bound():
    row, column = np.mgrid[:64, :64].astype(float)
    for seed in range(5):
        found = apply("elastic_transform", np.stack([row, column], -1), SMALL[0], seed)
        inner = found[16:48, 16:48]
        for axis in (0, 1):
            np.testing.assert_allclose(np.diff(inner, 2, axis), 0, atol=1e-9)
        # At the middle, half way between two of the three points that move by up to 0.08 * 32 pixels.
        shift = np.abs(found[32, 32] - 32).max()
        assert 0 < shift < 1.5 * 0.08 * 32


def test_snow_only_adds_light_and_falls_in_streaks():
    x = smooth((64, 64, 3))
    for level in (*SMALL, *LARGE):
        assert (apply("snow", x, level) >= x - 1e-12).all()
    dark = np.full((64, 64, 1), 0.2)
    paler = 0.8 * 0.2 + 0.2 * max(0.2, 1.5 * 0.2 + 0.5)  # of the fifth small level, where no flake is
    flakes = apply("snow", dark, SMALL[4]) - paler
    assert flakes.min() >= -1e-12 and flakes.max() > 0.05
    np.testing.assert_allclose(flakes, flakes[::-1, ::-1], atol=1e-12)
    down, across = (np.abs(np.diff(flakes, axis=axis)).mean() for axis in (0, 1))
    assert down < 0.7 * across  # within 45 degrees of the vertical


def test_contrast_scales_about_the_mean_of_each_channel():
    x = smooth((32, 32, 3))
    result = apply("contrast", x, SMALL[4])
    np.testing.assert_allclose(result.mean((0, 1)), x.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(result.std((0, 1)), 0.15 * x.std((0, 1)), rtol=1e-12)


def hsv(x, change):
    """By matplotlib's conversions, an independent implementation of the colour model."""
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    parts = rgb_to_hsv(x)
    change(parts)
    return hsv_to_rgb(np.clip(parts, 0, 1))


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_brightness_and_saturation_against_matplotlib(level):
    x = np.random.default_rng(level).random((40, 40, 3))
    x[:4], x[4:8] = 0.0, 0.4  # black and grey, which have no hue

    def brighter(parts):
        parts[..., 2] += (0.05, 0.1, 0.15, 0.2, 0.3)[level]

    def richer(parts):
        c, d = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[level]
        parts[..., 1] = np.clip(parts[..., 1] * c + d, 0, 1)

    np.testing.assert_allclose(apply("brightness", x, SMALL[level]), hsv(x, brighter), atol=1e-12)
    np.testing.assert_allclose(apply("saturate", x, LARGE[level]), hsv(x, richer), atol=1e-12)


def test_fog_is_a_mixture_with_a_height_map():
    x = np.zeros((32, 32, 3))
    x[0, 0] = 1.0  # so that m = 1
    result = apply("fog", x, SMALL[3])[1:]  # c = 1: half of the fractal
    assert (result[..., 0] == result[..., 1]).all() and 0 <= result.min() and result.max() <= 0.5
    assert np.corrcoef(result[:-1, :, 0].ravel(), result[1:, :, 0].ravel())[0, 1] > 0.5  # clouds, not noise


def test_jpeg_and_pixelate_are_pillows():
    data = photos(1)
    file = io.BytesIO()
    Image.fromarray(data.images[0]).save(file, "JPEG", quality=58)
    np.testing.assert_array_equal(
        corrupted(data, "jpeg_compression", severity=3).read([0]).image[0], np.asarray(Image.open(file))
    )
    blocks = np.kron(np.random.default_rng(0).random((4, 4, 3)), np.ones((4, 4, 1)))
    quarter = apply("pixelate", np.round(blocks * 255) / 255, LARGE[4])
    np.testing.assert_allclose(quarter, np.round(blocks * 255) / 255, atol=1e-12)


def test_an_image_that_is_left_as_it_is_keeps_its_pixels():
    """From pixels to 0 .. 1 and back loses nothing: what noise does not hit is untouched."""
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    hit = corrupted(arrays(every, [0]), "impulse_noise", severity=1).read([0]).image
    changed = hit != every
    assert changed.mean() < 0.1 and np.isin(hit[changed], [0, 255]).all()


def test_white_of_digits_is_16():
    with pytest.raises(PwactError, match=r"16 as the brightest.*white=16"):
        corrupted(digits(), "brightness")
    lit = corrupted(digits(), "brightness", severity=5, white=16).read([0]).image
    np.testing.assert_array_equal(lit, np.minimum(digits().images[:1] + np.round(0.3 * 16), 16))
    with pytest.raises(PwactError, match="at most white=10"):
        corrupted(digits(), "fog", white=10).read(range(9))
    with pytest.raises(PwactError, match="white of 1 to 255"):
        corrupted(digits(), "fog", white=0)


def test_fingerprints_differ_by_all_that_matters_and_keys_by_their_words():
    data = photos(3)
    base = corrupted(data, "fog", severity=2, key=1)
    others = [
        data,
        corrupted(data, "contrast", severity=2, key=1),
        corrupted(data, "fog", severity=3, key=1),
        corrupted(data, "fog", severity=2, key=2),
        corrupted(data, "fog", severity=2, key=jax.random.key(1)),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6
    with pytest.raises(PwactError, match="integer or one jax key"):
        corrupted(data, "fog", key="a")


def test_masks_labels_and_parts_stay():
    scenes = bag(size=30)
    hard = corrupted(scenes, "contrast", severity=1)
    np.testing.assert_array_equal(hard.masks([3]), scenes.masks([3]))
    np.testing.assert_array_equal(hard.labels, scenes.labels)
    assert corrupted(split(scenes, seed=0)["test"], "fog", severity=2).name == "bag fog 2/test"
    part = split(hard, seed=0)["test"]
    np.testing.assert_array_equal(part.index, split(scenes, seed=0)["test"].index)
    np.testing.assert_array_equal(part.masks([0]), scenes.masks(part.index[:1]))
    assert hard.read([]).image.shape == (0, 24, 24, 1)


def test_by_name():
    hard = load("corrupted(bag(size=12), 'fog', severity=2, key=3)")
    assert hard.fingerprint == corrupted(bag(size=12), "fog", severity=2, key=3).fingerprint
    assert load(hard.name).fingerprint == hard.fingerprint


@pytest.mark.parametrize(
    ("data", "name", "severity", "message"),
    [
        (photos(1), "gausian_noise", 3, "nearest: gaussian_noise"),
        (photos(1), "fog", 0, "severity of 1 to 5"),
        (photos(1), "fog", 6, "severity of 1 to 5"),
        (photos(1, channels=2), "fog", 3, "1 or 3 channels; found uint8 of 2"),
        (arrays(np.ones((1, 4, 4, 1), np.float32), [0]), "fog", 3, "found float32"),
    ],
)
def test_what_cannot_be_corrupted(data, name, severity, message):
    with pytest.raises(PwactError, match=message):
        corrupted(data, name, severity=severity)
