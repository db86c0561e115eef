"""Statistics of classes and decisions through a sweep of a real network, against NumPy on its captures."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pwact
from pwact.stats import (
    accuracy,
    agreement,
    by_class,
    calibration_error,
    confusion,
    mutual_information,
    per_channel,
    selectivity,
)

CLASSES, SITE = 10, "blocks.1.relu"


@pytest.fixture(scope="module")
def swept():
    """Digits in order of the split, and what the network, untrained, makes of each."""
    part = pwact.data.split(pwact.data.digits(), seed=0)["test"]
    preprocess = pwact.data.Preprocess.standardise(part)
    probe = pwact.probe(
        pwact.models.build(pwact.models.quick(part.image_shape, CLASSES), 0),
        np.zeros((2, *part.image_shape), np.float32),
    )
    everywhere = {
        "accuracy": by_class(accuracy(), CLASSES),
        "calibration": calibration_error(),
        "confusion": confusion(CLASSES),
        "information": mutual_information(CLASSES, threshold=0.1),
        "selectivity": selectivity(CLASSES),
        "channel": per_channel(selectivity(CLASSES)),
    }
    run = (probe, probe.variables, part)
    tree = pwact.sweep(*run, everywhere, sites=[SITE], preprocess=preprocess, batch_size=128)
    output = pwact.sweep(*run, {"agreement": agreement()}, sites=["output"], preprocess=preprocess)
    images = part.read(np.arange(len(part)))
    logits, captures = jax.jit(lambda v, x: probe.run(v, x, sites=[SITE]))(
        probe.variables, preprocess(images.image)
    )
    return (
        tree[SITE],
        output["output"],
        np.float64(logits),
        np.float64(captures[SITE]),
        np.asarray(images.label),
    )


def test_decisions_are_those_of_the_network(swept):
    found, output, logits, _, label = swept
    decided = logits.argmax(-1)
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (label, decided), 1)
    np.testing.assert_array_equal(found["confusion.count"], table)
    assert found["confusion.count"].dims == ("class", "predicted_class")
    np.testing.assert_allclose(found["accuracy.accuracy"], table.diagonal() / table.sum(1), rtol=1e-6)
    assert float(output["agreement.agreement"]) == 1
    sure = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).max(-1)
    bins = np.ceil(sure * 15).astype(int) - 1
    gaps = [abs((decided == label)[bins == b].mean() - sure[bins == b].mean()) for b in np.unique(bins)]
    expected = np.dot(gaps, np.unique(bins, return_counts=True)[1]) / len(label)
    np.testing.assert_allclose(found["calibration.ece"], expected, atol=1e-5)
    np.testing.assert_allclose(found["calibration.mce"], max(gaps), atol=1e-5)


def test_points_and_channels_tell_classes_apart_as_in_numpy(swept):
    """1e-4: captures of two programs differ in their last bits."""
    found, _, _, activation, label = swept
    for name, x, classes in (
        ("selectivity", activation, label),
        (
            "channel",
            activation.reshape(-1, activation.shape[-1]),
            np.repeat(label, activation[0, ..., 0].size),
        ),
    ):
        own = [x[classes == c] for c in range(CLASSES)]
        other = [x[classes != c] for c in range(CLASSES)]
        mean = np.stack([part.mean(0) for part in own])
        with np.errstate(invalid="ignore"):
            spread = np.sqrt([(a.var(0) + b.var(0)) / 2 for a, b in zip(own, other, strict=True)])
            d_prime = np.stack([a.mean(0) - b.mean(0) for a, b in zip(own, other, strict=True)]) / spread
            rest = (mean.sum(0) - mean.max(0)) / (CLASSES - 1)
            index = (mean.max(0) - rest) / (mean.max(0) + rest)
            between = sum(len(part) * (m - x.mean(0)) ** 2 for part, m in zip(own, mean, strict=True))
            eta_squared = between / (len(x) * x.var(0))
        assert np.isfinite(d_prime).any()
        np.testing.assert_allclose(found[f"{name}.d_prime"], d_prime, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[f"{name}.index"], index, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[f"{name}.eta_squared"], eta_squared, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found[f"{name}.count"], [len(part) for part in own])


def test_information_is_the_difference_of_entropies(swept):
    found, _, _, activation, label = swept
    share = np.bincount(label, minlength=CLASSES) / len(label)
    firing = np.stack([(activation[label == c] > 0.1).mean(0) for c in range(CLASSES)])

    def entropy(p):
        with np.errstate(divide="ignore", invalid="ignore"):
            return -np.nan_to_num(p * np.log2(p)) - np.nan_to_num((1 - p) * np.log2(1 - p))

    overall = np.tensordot(share, firing, 1)
    expected = entropy(overall) - np.tensordot(share, entropy(firing), 1)
    np.testing.assert_allclose(found["information.raw"], expected, atol=1e-5)
