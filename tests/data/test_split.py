"""Parts are disjoint, complete, stratified, the same on every machine, and speak of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pwact.data import arrays, mnist5k, split, subset
from pwact.errors import PwactError


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return arrays(np.zeros((len(labels), 2, 2, 1), np.uint8), labels, num_classes=len(counts))


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda counts: sum(counts) >= 20),
    seed=st.integers(0, 5),
    share=st.floats(0.1, 0.9),
)
def test_parts_are_disjoint_complete_and_stratified(counts, seed, share):
    dataset = labelled(counts)
    parts = split(dataset, seed=seed, fractions={"train": share, "test": 1 - share})
    together = np.concatenate([part.index for part in parts.values()])
    assert sorted(together) == list(range(len(dataset)))
    for label, count in enumerate(counts):
        inside = [int((part.labels == label).sum()) for part in parts.values()]
        assert abs(inside[0] - share * count) < 1 + 1e-6 or min(inside) == 1
        if count >= 2:
            assert min(inside) >= 1


def test_a_class_of_one_image_goes_to_the_larger_part():
    parts = split(labelled([50, 1]), seed=0)
    assert (parts["train"].labels == 1).sum() == 1 and (parts["test"].labels == 1).sum() == 0
    parts = split(labelled([50, 1]), seed=0, fractions={"small": 0.2, "large": 0.8})
    assert (parts["large"].labels == 1).sum() == 1


def test_many_classes_of_one_image_are_shared_out():
    parts = split(labelled([1] * 100), seed=0)
    assert (len(parts["train"]), len(parts["test"])) == (80, 20)


def test_a_split_of_mnist5k_never_changes():
    parts = split(mnist5k(), seed=0)
    assert np.bincount(parts["train"].labels).tolist() == [400] * 10
    assert {name: part.index_hash[:16] for name, part in parts.items()} == {
        "train": "1cc4dd75bacc71eb",
        "test": "fb9bf8320af41495",
    }


def test_another_seed_gives_other_parts():
    dataset = labelled([30, 30])
    assert split(dataset, seed=0)["train"].index_hash != split(dataset, seed=1)["train"].index_hash


def test_a_part_of_a_part_speaks_of_the_whole():
    whole = arrays(np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1), np.arange(20) % 2)
    part = subset(subset(whole, range(10, 20)), [1, 5, 9], name="three")
    assert part.whole is whole
    batch = part.read([2, 0])
    assert batch.index.tolist() == [19, 11]
    assert batch.image.ravel().tolist() == [19, 11]
    assert part.labels.tolist() == [1, 1, 1]
    assert (len(part), part.image_shape, part.num_classes, part.name) == (3, (1, 1, 1), 2, "three")


def test_hash_and_fingerprint_tell_parts_apart():
    whole = labelled([20])
    first, second = subset(whole, range(10)), subset(whole, range(10, 20))
    assert first.index_hash != second.index_hash and first.fingerprint != second.fingerprint
    assert first.index_hash == subset(whole, reversed(range(10))).index_hash
    assert subset(whole, range(20)).index_hash == whole.index_hash


@pytest.mark.parametrize(
    "fractions", [{}, {"train": 1.0, "test": 0.0}, {"train": 0.5, "test": 0.4}, {"a": -1.0, "b": 2.0}]
)
def test_fractions_that_share_nothing_out(fractions):
    with pytest.raises(PwactError, match="positive fractions that add up to 1"):
        split(labelled([10]), seed=0, fractions=fractions)


def test_too_few_images_for_the_parts():
    with pytest.raises(PwactError, match="at least one image in each part; found none for 'test'"):
        split(labelled([1]), seed=0)


@pytest.mark.parametrize(
    ("indices", "message"), [([], "at least one"), ([1, 1], "twice"), ([10], "indices in 0 .. 9")]
)
def test_subsets_that_make_no_sense(indices, message):
    with pytest.raises(PwactError, match=message):
        subset(labelled([10]), indices)


def test_a_seed_below_zero():
    with pytest.raises(PwactError, match="a seed of 0 or more"):
        split(labelled([10]), seed=-1)
