"""The named recipes reach what they promise, and the synthetic sets are learnable as designed."""

import numpy as np
import pytest

from pwact.data import bag, digits, mnist5k, relation, split
from pwact.models import quick, small_receptive_field
from pwact.train import MEMORISE, evaluate, train


def accuracy(dataset, config, seeds=range(2), **options):
    parts = split(dataset, seed=0)
    trained = train(config(dataset.image_shape, dataset.num_classes), parts["train"], seeds=seeds, **options)
    return evaluate(trained, parts["test"]).accuracy.values


def test_digits_are_learnt_in_seconds():
    assert accuracy(digits(), quick).mean() > 0.97


@pytest.mark.slow
def test_mnist5k_is_learnt_beyond_95_percent():
    assert accuracy(mnist5k(), quick, seeds=range(3)).mean() > 0.96


@pytest.mark.slow
def test_a_bag_is_learnt_by_both_networks():
    assert accuracy(bag(), quick).min() > 0.95
    assert accuracy(bag(), small_receptive_field).min() > 0.95


@pytest.mark.slow
def test_a_relation_is_learnt_by_the_network_that_can_see_it_only():
    assert accuracy(relation(), quick).min() > 0.95
    # 600 test images and 3 classes: chance is 1/3 with a deviation of 0.02.
    np.testing.assert_allclose(accuracy(relation(), small_receptive_field), 1 / 3, atol=0.1)


@pytest.mark.slow
def test_shuffled_labels_are_memorised_and_say_nothing_about_new_images():
    parts = split(mnist5k(), seed=0)
    options = {"seeds": [0], "recipe": MEMORISE, "treatment": "shuffled_labels"}
    shuffled = train(quick((28, 28, 1), 10), parts["train"], **options)
    assert evaluate(shuffled, parts["train"], labels=shuffled.labels).accuracy[0] > 0.6
    assert evaluate(shuffled, parts["test"]).accuracy[0] < 0.2
