"""One small problem for all training tests, so that its programs are compiled once."""

import pytest

from pwact.data import bag, split
from pwact.models import ModelConfig
from pwact.train import Recipe, run, train


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    """However short it is, so that tests can stop between two."""
    monkeypatch.setattr(run, "PAUSE_SECONDS", 0.0)


@pytest.fixture(scope="package")
def parts():
    return split(bag(size=250, seed=0, image_size=20), seed=0)


@pytest.fixture(scope="package")
def config():
    return ModelConfig((20, 20, 1), 3, widths=(4, 6), strides=(2, 2), first_kernel_size=3)


@pytest.fixture(scope="package")
def recipe():
    return Recipe(epochs=3, batch_size=32)


@pytest.fixture(scope="package")
def trained(config, parts, recipe):
    return train(config, parts["train"], seeds=[3, 5, 8], recipe=recipe, test=parts["test"])
