"""Distributions through sweeps of a network that reads the scenes of `bag`, against NumPy on its captures.

The weights are small whole numbers, so every activation is exact however it is compiled.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pwact
from pwact.errors import PwactError
from pwact.stats import by_class, exact_quantiles, histogram, overlap, per_channel, quantiles

CLASSES, Q = 3, (0.1, 0.5, 0.99)
STATISTICS = {
    "found": histogram(8),
    "given": by_class(histogram((0.0, 1.0, 500.0, 2000.0)), CLASSES),
    "sketch": quantiles(Q),
    "exact": exact_quantiles(Q),
    "channel": by_class(per_channel(exact_quantiles(Q, bits=16)), CLASSES),
    "overlap": overlap(0.98),
}


def network(variables: dict, image: jax.Array) -> jax.Array:
    for name, stride in (("first", 1), ("second", 2)):
        image = lax.conv_general_dilated(
            image,
            variables[name],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        with jax.named_scope(name):
            image = jax.nn.relu(image)
    return image.mean((1, 2))


def as_floats(image: jax.Array) -> jax.Array:
    return image.astype(jnp.float32)


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    data = pwact.data.bag(size=200, seed=1)
    variables = {
        "first": jnp.asarray(rng.integers(-2, 3, (3, 3, 1, 4)), jnp.float32),
        "second": jnp.asarray(rng.integers(-2, 3, (3, 3, 4, 3)), jnp.float32),
    }
    probe = pwact.probe(network, as_floats(data.read([0, 1]).image), variables=variables)
    sites = [name for name, site in probe.sites.items() if site.operation == "relu"]
    site = sites[-1]
    tree = pwact.sweep(
        *(probe, variables, data, STATISTICS),
        sites=[site],
        preprocess=as_floats,
        batch_size=64,
        micro_batch=16,
    )
    images = data.read(np.arange(len(data)))
    _, captures = probe.run(variables, as_floats(images.image), sites=[site])
    return tree[site], np.asarray(captures[site]), np.asarray(images.label), data.masks(range(len(data)))


def lower(x: np.ndarray) -> np.ndarray:
    return np.quantile(x, Q, axis=0, method="lower")


def test_the_activations_of_the_network_are_exact(run):
    _, x, _, _ = run
    assert x.shape == (200, 12, 12, 3) and (x == np.round(x)).all() and 100 < x.max() < 2**24


def test_order_statistics_are_those_of_the_captures(run):
    found, x, label, _ = run
    exact = lower(x)
    assert found["exact.value"].values.tolist() == exact.tolist()
    for c in range(CLASSES):
        own = x[label == c].reshape(-1, x.shape[-1])
        assert found["channel.value"].values[c].tolist() == lower(own).tolist()
    sketch, floor = found["sketch.value"].values, found["sketch.floor"].values
    assert (np.abs(sketch - exact) <= 0.01 * exact)[exact >= floor].all()
    assert not sketch[exact < floor].any()


def test_histograms_are_those_of_the_captures(run):
    found, x, label, _ = run
    for c in range(CLASSES):
        wanted, _ = np.histogram(x[label == c][:, 3, 4, 1], (0, 1, 500, 2000))
        assert found["given.count"].values[c, :, 3, 4, 1].tolist() == wanted.tolist()
    for channel in range(x.shape[-1]):
        edges = found["found.edges"].values[:, channel]
        np.testing.assert_allclose(edges, np.linspace(0, x[..., channel].max(), 9), rtol=2.0**-21)
        wanted, _ = np.histogram(x[..., channel], edges)
        assert found["found.count"].values[..., channel].sum((1, 2)).tolist() == wanted.tolist()


def test_overlap_is_that_of_the_captures_and_masks(run):
    found, x, _, mask = run
    # Weights of 1/4 and 3/4 on whole numbers: the interpolation is exact too.
    up = np.asarray(jax.image.resize(x, (len(x), 24, 24, x.shape[-1]), "bilinear"))
    threshold = np.quantile(x.reshape(-1, x.shape[-1]), 0.98, axis=0, method="lower")
    active, objects = up > threshold, mask[..., None]
    assert found["overlap.threshold"].values.tolist() == threshold.tolist()
    assert found["overlap.intersection"].values.tolist() == (active & objects).sum((0, 1, 2)).tolist()
    assert found["overlap.union"].values.tolist() == (active | objects).sum((0, 1, 2)).tolist()


def test_a_dataset_without_masks_is_refused():
    data = pwact.data.digits()
    probe = pwact.probe(lambda image: jax.nn.relu(image).mean((1, 2)), as_floats(data.read([0]).image))
    site = next(name for name, site in probe.sites.items() if site.is_map)
    with pytest.raises(PwactError, match="object masks in the dataset for overlap"):
        pwact.sweep(probe, None, data, {"overlap": overlap()}, sites=[site], preprocess=as_floats)
