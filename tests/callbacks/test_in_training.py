"""All doors at once in one training: each leaves what it promises."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from pwact.data import digits, split, subset
from pwact.models import ModelConfig
from pwact.train import Recipe, train

LIMIT, SPARSITY = 1.2, 0.6


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    images = subset(split(digits(), seed=0)["train"], np.arange(240))
    recipe = Recipe(
        epochs=3,
        batch_size=40,
        optimizer="sgd",
        clip_norm=5.0,
        weight_decay=0.0,
        objective="gccs(ramp=(0, 2), minimum=2)",
        regularizers=("norm_loss(0.01)", "norm_loss(0.01, decoupled=True)", "l1(1e-5)"),
        update="mltp()",
        initializer="hcore(epochs=1)",
        callbacks=(f"gradual_pruning({SPARSITY}, end=0.5)", f"max_norm({LIMIT})"),
        sampling="balanced",
    )
    folder = tmp_path_factory.mktemp("doors") / "run"
    config = ModelConfig((8, 8, 1), 10, widths=(4, 6), strides=(2, 1), norm="batch")
    return train(config, images, seeds=[3, 4], recipe=recipe, folder=folder), folder


def kernels(trained):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables) if leaf.ndim > 2]


def test_every_kernel_ends_with_the_sparsity_asked_for(trained):
    for kernel in kernels(trained[0]):
        for network in kernel:
            assert (network == 0).sum() == round(SPARSITY * network.size)


def test_no_filter_ends_longer_than_the_limit(trained):
    for kernel in kernels(trained[0]):
        lengths = np.sqrt((kernel.astype(np.float64) ** 2).sum(tuple(range(1, kernel.ndim - 1))))
        assert lengths.max() <= LIMIT * (1 + 1e-6)


def test_the_update_rule_logs_its_cosine_and_the_loss_is_finite(trained):
    networks, folder = trained
    assert np.isfinite(networks.curves.loss.values).all()
    lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    cosines = [line["gradient_cosine"] for line in lines if "gradient_cosine" in line]
    assert cosines and (np.abs(np.array(cosines, float)) <= 1.0001).all()
