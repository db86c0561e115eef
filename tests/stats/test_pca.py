"""Principal components against float64 eigenvectors, close eigenvalues and extreme scales among them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import pca

from .streams import accumulate

UNIT = 2.0**-24


def drawn(spectrum, images, rng):
    """Point vectors whose covariance has about these eigenvalues, along random axes."""
    channels = len(spectrum)
    axes = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    return (rng.normal(size=(images, channels)) * np.sqrt(spectrum) @ axes.T).astype(np.float32)


def exact(x):
    values, vectors = np.linalg.eigh(np.cov(x.reshape(-1, x.shape[-1]).astype(np.float64).T, bias=True))
    return values[::-1], vectors.T[::-1]


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_components_of_many_points_are_those_of_float64(scale):
    spectrum = np.array([9.0, 4.0, 1.0, 0.25, 0.01])
    x = (scale * drawn(spectrum, 131_072, np.random.default_rng(0))).astype(np.float32) + np.float32(scale)
    found = accumulate(pca(4), x.reshape(-1, 4, 4, 5), 8)
    values, vectors = exact(x)
    error = (4 * 128 + 5) * UNIT * values.sum()
    assert found["count"] == 131_072
    assert (np.abs(found["eigenvalue"] - values[:4]) <= error).all()
    np.testing.assert_allclose(found["explained"], values[:4] / values.sum(), atol=2 * error / values.sum())
    gaps = np.minimum(values[:4] - values[1:], np.r_[np.inf, values[:3] - values[1:4]])
    cosine = np.abs((found["components"] * vectors[:4]).sum(-1))
    sine = np.linalg.norm(
        found["components"] - (found["components"] @ vectors[:4].T).diagonal()[:, None] * vectors[:4], axis=-1
    )
    assert (sine <= 2 * error / gaps + 8 * UNIT).all() and (cosine > 0.999).all()
    np.testing.assert_allclose(found["components"] @ found["components"].T, np.eye(4), atol=1e-6)


def test_of_close_eigenvalues_the_plane_is_right():
    """They differ by 1e-7 of themselves, less than float32 tells apart; the third is far."""
    x = drawn(np.array([1.0, 1.0, 0.1]), 4096, np.random.default_rng(1)).astype(np.float64)
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    x = (x @ vectors / np.sqrt(values) * np.sqrt([0.1, 1.0, 1 + 1e-7]) @ vectors.T).astype(np.float32)
    found = accumulate(pca(2), x, 16)
    _, vectors = exact(x)
    np.testing.assert_allclose(found["eigenvalue"], [1, 1], atol=(4 * 16 + 3) * UNIT * 2.1)
    plane = found["components"].T @ found["components"]
    np.testing.assert_allclose(plane, vectors[:2].T @ vectors[:2], atol=1e-5)


def test_the_sign_does_not_hang_on_rounding():
    """Entries of equal magnitude and opposite sign: the first is positive, whatever the batches."""
    rng = np.random.default_rng(2)
    one = rng.normal(size=2048)
    for sign in (1, -1):
        x = (sign * np.stack([one, -one, 0.1 * rng.normal(size=2048)], -1)).astype(np.float32)
        for batch in (1, 8, 64):
            first = accumulate(pca(1), x, batch)["components"][0]
            np.testing.assert_allclose(first, [2**-0.5, -(2**-0.5), 0], atol=5e-3)


def test_what_does_not_vary_has_no_share_and_nothing_seen_has_no_component():
    found = accumulate(pca(2), np.full((8, 2), 0.1, np.float32), 4)
    assert (found["eigenvalue"] == 0).all() and np.isnan(found["explained"]).all()
    nothing = pca(2).finalize(pca(2).init(jax.ShapeDtypeStruct((2,), jnp.float32)))
    assert all(np.isnan(nothing[name].values).all() for name in ("eigenvalue", "explained", "components"))


def test_overflow_is_infinite_and_not_missing():
    found = accumulate(pca(1), np.array([[3e38, 0], [-3e38, 1]], np.float32), 2)
    assert np.isinf(found["eigenvalue"]).all() and np.isinf(found["components"]).all()


def test_each_position_has_its_own_components():
    x = (np.random.default_rng(3).normal(size=(64, 2, 3, 4)) * [4, 3, 2, 1]).astype(np.float32)
    acc = pca(2, positions="each")
    found = accumulate(acc, x, 16)
    own = accumulate(pca(2), x[:, 1, 2], 16)
    for name in ("mean", "eigenvalue", "explained", "components"):
        np.testing.assert_allclose(found[name][1, 2], own[name], atol=2e-5)
    dims = {
        name: value.dims
        for name, value in acc.finalize(acc.init(jax.ShapeDtypeStruct((2, 3, 4), x.dtype))).items()
    }
    assert dims["components"] == ("row", "column", "component", "channel")
    assert dims["explained"] == ("row", "column", "component")


def test_what_makes_no_sense_is_refused():
    with pytest.raises(PwactError, match="components of 1 or more"):
        pca(0)
    with pytest.raises(PwactError, match="components of 3 or less, the activation's channels; found 4"):
        pca(4).init(jax.ShapeDtypeStruct((2, 2, 3), jnp.float32))
