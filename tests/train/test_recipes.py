"""Named recipes: each can be written down, and reaches what it says it reaches."""

import jax
import numpy as np
import pytest

import pwact
from pwact.data.augment import image_keys
from pwact.models import ResNet, WideResNet, quick
from pwact.train import Recipe, evaluate, recipes, train
from pwact.train.evaluate import t_interval


@pytest.mark.parametrize("name", recipes.__all__)
def test_what_is_written_of_a_recipe_makes_it_again(name):
    recipe = getattr(recipes, name)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_all_recipes_are_in_the_list():
    found = {name for name, value in vars(recipes).items() if isinstance(value, Recipe)}
    assert found == set(recipes.__all__)


@pytest.mark.parametrize("name", ["CIFAR10_RESNET20", "CIFAR10_WRN16_4"])
def test_recipes_for_cifar_fit_its_50000_images(name):
    recipe = getattr(recipes, name)
    assert recipe.steps_per_epoch(50_000) == 50_000 // 128
    # He et al. take 64,000 steps of 128 images, Zagoruyko and Komodakis 200 epochs.
    assert 64_000 <= recipe.steps(50_000) <= 200 * 391
    image = np.arange(2 * 32 * 32 * 3, dtype=np.uint32).reshape(2, 32, 32, 3).astype(np.uint8)
    changed = recipe.method("augment")(image, image_keys(jax.random.key(0), np.arange(2)))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, image)


def test_the_networks_for_cifar_have_the_published_sizes():
    # K. He et al. 2016, table 6: 0.27 M; S. Zagoruyko and N. Komodakis 2016: 2.7 M.
    assert round(pwact.models.parameters(pwact.models.cifar_resnet((32, 32, 3), 10, depth=20)), -4) == 270_000
    assert round(pwact.models.parameters(WideResNet((32, 32, 3), 10, depth=16, widen=4)), -5) == 2_700_000
    assert isinstance(pwact.models.cifar_resnet((32, 32, 3), 10, depth=20), ResNet)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "promised"), [("DIGITS", "digits", 0.99), ("MNIST5K", "mnist5k", 0.98)]
)
def test_reaches_what_it_promises_with_fresh_seeds(name, dataset, promised):
    data = pwact.data.load(dataset)
    parts = pwact.data.split(data, seed=4)
    trained = train(
        quick(data.image_shape, data.num_classes),
        parts["train"],
        seeds=range(300, 303),
        recipe=getattr(recipes, name),
    )
    accuracy = evaluate(trained, parts["test"]).accuracy.values.astype(np.float64)
    # Held to the upper end of the 95 % interval: a mean of three seeds below it is no accident.
    assert t_interval(accuracy)[1] >= promised and accuracy.mean() > promised - 0.005
