"""The synthetic sets are what they claim: presence only, arrangement only, two cues."""

import itertools
import sys

import jax
import numpy as np
import pytest

from pwact.data import bag, relation, scenes, shape_texture, split
from pwact.errors import PwactError

SETS = {"bag": bag, "relation": relation, "shape_texture": shape_texture}


def tokens_in(image, mask=None):
    """Which tokens an image shows, with their cells, found by matching patterns."""
    bright = image[..., 0] >= 160 if mask is None else (image[..., 0] >= 160) & mask
    cell = len(image) // scenes.GRID
    found = []
    for row, column in itertools.product(range(scenes.GRID), repeat=2):
        patch = bright[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        at = [
            token
            for token, pattern in enumerate(scenes.ALPHABET)
            for dy, dx in itertools.product(range(cell - scenes.TOKEN + 1), repeat=2)
            if (patch == np.pad(pattern, ((dy, cell - dy - 4), (dx, cell - dx - 4)))).all()
        ]
        assert len(at) == patch.any(), "each lit cell shows exactly one token"
        found += [(at[0], row, column)] if at else []
    return found


@pytest.mark.parametrize("name", SETS)
def test_same_seed_same_images_and_another_seed_others(name):
    make = SETS[name]
    one = make(size=50, seed=4)
    assert one.fingerprint == make(size=50, seed=4).fingerprint
    assert one.fingerprint != make(size=50, seed=5).fingerprint
    key = make(size=50, seed=jax.random.key(4))
    assert key.fingerprint == make(size=50, seed=jax.random.PRNGKey(4)).fingerprint
    assert key.fingerprint != make(size=50, seed=jax.random.key(5)).fingerprint


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("image_size", [20, 24, 28])
def test_shapes_balance_and_types(name, image_size):
    dataset = SETS[name](size=31, seed=0, image_size=image_size)
    assert dataset.images.dtype == np.uint8
    assert dataset.image_shape == (image_size, image_size, 1)
    assert sorted(np.bincount(dataset.labels, minlength=3)) == [10, 10, 11]
    assert dataset.masks(np.arange(31)).any((1, 2)).all()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "options", [{"size": 0}, {"image_size": 16}, {"image_size": 25}, {"seed": -1}, {"seed": "one"}]
)
def test_impossible_scenes_are_refused(name, options):
    with pytest.raises(PwactError):
        SETS[name](**options)


def test_all_tokens_are_equally_bright():
    assert (scenes.ALPHABET.sum((1, 2)) == 8).all()


def test_bag_shows_the_class_token_and_no_other_class_token():
    dataset = bag(size=30, seed=1)
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        found = [token for token, _, _ in tokens_in(image)]
        assert len(found) == 6
        assert [token for token in found if token < 3] == [label]


def test_bag_masks_hold_the_class_token_exactly():
    dataset = bag(size=30, seed=1)
    for image, label, mask in zip(dataset.images, dataset.labels, dataset.object_masks, strict=True):
        assert mask.sum() == 8
        assert (image[..., 0][mask] >= 160).all()
        assert [token for token, _, _ in tokens_in(image, mask)] == [label]


def test_bag_stays_what_it_is_when_its_cells_are_permuted():
    dataset = bag(size=20, seed=2)
    order = np.random.default_rng(0).permutation(16)
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        cells = image.reshape(4, 6, 4, 6, 1).swapaxes(1, 2).reshape(16, 6, 6, 1)[order]
        moved = cells.reshape(4, 4, 6, 6, 1).swapaxes(1, 2).reshape(24, 24, 1)
        assert [token for token, _, _ in tokens_in(moved) if token < 3] == [label]


def test_relation_shows_the_same_tokens_in_every_image():
    for image in relation(size=30, seed=1).images:
        assert sorted(token for token, _, _ in tokens_in(image)) == [0, 1, 2, 3, 4, 5]


def test_relation_is_told_by_how_the_two_tokens_lie():
    dataset = relation(size=30, seed=1)
    for image, label, mask in zip(dataset.images, dataset.labels, dataset.object_masks, strict=True):
        (_, row_a, column_a), (_, row_b, column_b) = sorted(tokens_in(image, mask))
        apart = (abs(row_a - row_b), abs(column_a - column_b))
        assert apart == [(0, 2), (2, 0), (2, 2)][label]


def test_relation_hides_its_class_from_every_small_patch(monkeypatch):
    drawn = {}
    module = sys.modules[relation.__module__]
    monkeypatch.setattr(
        module,
        "draw",
        lambda rng, tokens, cells, *rest: drawn.update(cells=cells) or draw(rng, tokens, cells, *rest),
    )
    draw = scenes.draw
    labels = relation(size=18_000, seed=3, image_size=20).labels
    row, column = drawn["cells"] // 4, drawn["cells"] % 4
    near = (np.abs(row[:, :1] - row) <= 1) & (np.abs(column[:, :1] - column) <= 1)
    assert not near[:, 1].any(), "B never lies in a cell next to A, so no patch of two cells meets both"
    # With 6,000 images a class, A is uniform on 16 cells: a count is binomial with mean 375 and deviation
    # 18.8. Likewise B. What lies next to A is a distractor or nothing, alike in every class: the number of
    # distractors near A has the same mean in each, up to 5 deviations of 1 / sqrt(6,000).
    for label in range(3):
        for token in (0, 1):
            counts = np.bincount(drawn["cells"][labels == label, token], minlength=16)
            assert np.abs(counts - 375).max() < 5 * 18.8
    crowd = [near[labels == label, 2:].sum(1).mean() for label in range(3)]
    assert max(crowd) - min(crowd) < 2 * 5 / np.sqrt(6000)


def test_shape_texture_cues_agree_or_always_disagree():
    agree, conflict = shape_texture(size=90), shape_texture(size=90, conflict=True)
    np.testing.assert_array_equal(agree.attributes["shape"], agree.attributes["texture"])
    assert (conflict.attributes["shape"] != conflict.attributes["texture"]).all()
    np.testing.assert_array_equal(conflict.labels, conflict.attributes["shape"])
    pairs = set(
        zip(conflict.attributes["shape"].tolist(), conflict.attributes["texture"].tolist(), strict=True)
    )
    assert len(pairs) == 6


def test_shape_texture_shows_the_texture_that_it_names():
    # Rows are constant along a row, columns along a column, checks along neither.
    dataset = shape_texture(size=30, conflict=True, seed=2)
    for i, texture in enumerate(dataset.attributes["texture"]):
        inside, pixel = dataset.object_masks[i], dataset.images[i, ..., 0].astype(int)
        along = [
            np.diff(pixel, axis=axis)[inside[:, 1:] & inside[:, :-1] if axis else inside[1:] & inside[:-1]]
            for axis in (0, 1)
        ]
        varies = (bool(along[0].any()), bool(along[1].any()))
        assert varies == [(True, False), (False, True), (True, True)][texture]


def test_shapes_have_about_the_same_area():
    # Areas are pi r^2 by construction with the same law of r; pixels and 1,000 images leave a few percent.
    dataset = shape_texture(size=3000, seed=0)
    area = [dataset.object_masks[dataset.labels == label].mean() for label in range(3)]
    assert max(area) / min(area) < 1.1


def test_masks_of_a_split_speak_of_its_own_images():
    whole = bag(size=40, seed=0)
    part = split(whole, seed=0)["test"]
    np.testing.assert_array_equal(part.masks([3]), whole.masks(part.index[[3]]))
