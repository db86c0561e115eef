"""CKA and HSIC against n x n kernels in float64, their invariances, and whole sweeps of pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError
from pwact.stats import cka, coactivation, covariance, cross_covariance, hsic, pca

from .streams import accumulate

UNIT = 2.0**-24
MAP = jax.ShapeDtypeStruct((4, 5, 3), jnp.float32)
FEATURES = {
    "mean": lambda x: x.mean((1, 2), dtype=np.float64),
    "flat": lambda x: x.reshape(len(x), -1).astype(np.float64),
    "pooled": lambda x: x.reshape(-1, x.shape[-1]).astype(np.float64),
}


def kernels(x, y):
    """HSIC and CKA, from Gram matrices of samples."""
    n = len(x)
    centre = np.eye(n) - 1 / n
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ m) / (n - 1) ** 2, np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def without_bias(x, y):
    """The unbiased HSIC and the CKA of it, from inner products of U-centred Gram matrices."""
    n = len(x)
    centred = []
    for part in (x, y):
        k = part @ part.T
        np.fill_diagonal(k, 0)
        rows = k.sum(0) / (n - 2)
        k = k - rows - rows[:, None] + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        centred.append(k)
    across, own, other = (
        (centred[a] * centred[b]).sum() / (n * (n - 3)) for a, b in ((0, 1), (0, 0), (1, 1))
    )
    return across, across / np.sqrt(own * other)


@pytest.mark.parametrize("positions", FEATURES)
def test_both_are_those_of_kernels_of_all_samples(positions):
    rng = np.random.default_rng(0)
    x = (100 + rng.gamma(1.0, size=(96, 3, 4, 5))).astype(np.float32)
    y = np.concatenate([x[..., :3] ** 2, rng.normal(size=(96, 3, 4, 4))], -1).astype(np.float32)
    a, b = FEATURES[positions](x), FEATURES[positions](y)
    dependence, alignment = kernels(a, b)
    unbiased, debiased = without_bias(a - a.mean(0), b - b.mean(0))
    # The bounds of the docstrings for 8 images of 12 samples, features of the site with most of them.
    bound = 2 * 8 * 96 * UNIT * np.sqrt(y[0].size if positions == "flat" else 7)
    scale = a.var(0).sum() * b.var(0).sum()
    found = accumulate(hsic(positions=positions), (x, y), 8)
    assert found["count"] == len(a)
    np.testing.assert_allclose(found["hsic"], dependence, rtol=bound)
    np.testing.assert_allclose(found["unbiased"], unbiased, atol=16 * 96 * UNIT * scale)
    found = accumulate(cka(positions=positions), (x, y), 8)
    np.testing.assert_allclose(found["cka"], alignment, rtol=bound)
    np.testing.assert_allclose(found["debiased"], debiased, atol=2 * bound)


def test_without_bias_unrelated_sites_are_unrelated():
    """60 features and 240 samples: CKA says 0.2, without bias 0 to the spread of such estimates."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=(240, 60)).astype(np.float32) for _ in range(2))
    found = accumulate(cka(), (x, y), 16)
    assert found["cka"] > 0.15 and abs(found["debiased"]) < 0.02
    np.testing.assert_allclose(accumulate(cka(), (x, x), 16)["debiased"], 1, rtol=1e-5)


@pytest.mark.parametrize("far", [1e3, 1e-3])
def test_without_bias_the_order_of_far_groups_does_not_matter(far):
    """Two groups, as many units apart as their spread is wide or narrow, one after the other or mixed."""
    rng = np.random.default_rng(7)
    group = np.repeat([0, 1], 64)[:, None]
    x = (far * group + rng.normal(size=(128, 3))).astype(np.float32)
    y = (2 - far * group + x[:, :2] * [1, 3] + rng.normal(size=(128, 2))).astype(np.float32)
    unbiased, debiased = without_bias(*(a - a.mean(0, dtype=np.float64) for a in (x, y)))
    for order in (np.arange(128), rng.permutation(128)):
        pair = x[order], y[order]
        np.testing.assert_allclose(accumulate(hsic(), pair, 4)["unbiased"], unbiased, rtol=1e-5)
        np.testing.assert_allclose(accumulate(cka(), pair, 4)["debiased"], debiased, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_without_bias_out_of_range_is_missing_and_never_wrong(scale):
    """Fourth powers of 1e-12 and 1e12 are no float32: CKA itself is unharmed."""
    x = np.random.default_rng(8).normal(size=(64, 3))
    y = x[:, :2] + np.random.default_rng(9).normal(size=(64, 2))
    found = accumulate(cka(), ((scale * x).astype(np.float32), (scale * y).astype(np.float32)), 8)
    np.testing.assert_allclose(found["cka"], kernels(x, y)[1], rtol=1e-5)
    if 1e-7 < scale < 1e7:
        np.testing.assert_allclose(found["debiased"], without_bias(x, y)[1], rtol=1e-5)
    else:
        assert np.isnan(found["debiased"])


def test_each_position_on_its_own():
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(64, 2, 3, c)).astype(np.float32) for c in (4, 5))
    for make, name in ((hsic, "hsic"), (cka, "cka")):
        acc = make(positions="each")
        found = accumulate(acc, (x, y), 8)[name]
        own = kernels(*(a[:, 1, 2].astype(np.float64) for a in (x, y)))[name == "cka"]
        np.testing.assert_allclose(found[1, 2], own, rtol=1e-5)
        assert acc.finalize(acc.init((MAP, MAP)))[name].dims == ("row", "column")
        assert make().finalize(make().init((MAP, MAP)))[name].dims == ()


def test_alignment_ignores_rotation_scale_offset_and_which_site_is_first():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(512, 6)).astype(np.float32)
    y = (x[:, :4] + rng.normal(size=(512, 4))).astype(np.float32)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    turned = (1e-15 * (x @ rotation)).astype(np.float32)
    plain = accumulate(cka(), (x, y), 16)["cka"]
    np.testing.assert_allclose(accumulate(cka(), (y, x), 16)["cka"], plain, rtol=1e-6)
    np.testing.assert_allclose(accumulate(cka(), (turned, y), 16)["cka"], plain, rtol=1e-5)
    np.testing.assert_allclose(accumulate(cka(), (x, 50 + 1e15 * y), 16)["cka"], plain, rtol=1e-5)
    np.testing.assert_allclose(accumulate(cka(), (x, turned), 16)["cka"], 1, rtol=1e-5)


def test_the_whole_dataset_counts_and_not_its_batches():
    """Batches of one class each are alike inside; a mean of CKA over batches would be near 0."""
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(64), 16)
    x = (label[:, None] + 0.01 * rng.normal(size=(1024, 2))).astype(np.float32)
    y = (label[:, None] + 0.01 * rng.normal(size=(1024, 2))).astype(np.float32)
    batchwise = [kernels(a, b)[1] for a, b in zip(np.split(x, 64), np.split(y, 64), strict=True)]
    assert np.mean(batchwise) < 0.3
    assert accumulate(cka(), (x, y), 16)["cka"] > 0.999


def test_many_samples_far_from_the_origin():
    """131,072 points at an offset of 1e5, whose products float32 would lose altogether."""
    rng = np.random.default_rng(4)
    x = (1e5 + rng.normal(size=(8192, 4, 4, 3))).astype(np.float32)
    y = (1e5 + (x - 1e5) * [1, 2, 3] + rng.normal(size=x.shape)).astype(np.float32)
    a, b = (FEATURES["pooled"](part) for part in (x, y))
    a, b = a - a.mean(0), b - b.mean(0)
    squares = [np.square(one.T @ other).sum() for one, other in ((a, b), (a, a), (b, b))]
    found = accumulate(cka(positions="pooled"), (x, y), 8)
    np.testing.assert_allclose(found["cka"], squares[0] / np.sqrt(squares[1] * squares[2]), rtol=1e-5)
    found = accumulate(hsic(positions="pooled"), (x, y), 8)
    np.testing.assert_allclose(found["hsic"], squares[0] / (len(a) - 1) ** 2, rtol=1e-5)
    # Of so many samples the bias is a ten-thousandth of this.
    np.testing.assert_allclose(found["unbiased"], found["hsic"], rtol=1e-4)


def unbiased_of_many(x, y):
    """HSIC of centred x and y, of linear kernels without their diagonals (Song et al. 2012), in O(n)."""
    n, a, b = len(x), np.square(x).sum(1), np.square(y).sum(1)
    total = np.square(x.T @ y).sum() - (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (a * b).sum()) / (n * (n - 3))


def test_the_error_does_not_grow_with_the_number_of_updates():
    """131,072 updates of 8 images, to the bounds of the docstrings, which have no number of updates."""
    rng = np.random.default_rng(6)
    x = (1e3 + rng.normal(size=(1 << 20, 3))).astype(np.float32)
    y = (0.3 * x @ rng.normal(size=(3, 2)) + rng.normal(size=(1 << 20, 2))).astype(np.float32)
    a, b = (part - part.mean(0) for part in (x.astype(np.float64), y.astype(np.float64)))
    spread = a.var(0).sum() * b.var(0).sum()
    biased = np.square(a.T @ b).sum() / (len(a) - 1) ** 2
    found = accumulate(hsic(), (x, y), 8)
    assert abs(np.sqrt(found["hsic"]) - np.sqrt(biased)) < 4 * 8 * UNIT * np.sqrt(spread)
    assert abs(found["unbiased"] - unbiased_of_many(a, b)) < 16 * 8 * UNIT * spread
    found = accumulate(cka(), (x, y), 8)
    own, other = np.square(a.T @ a).sum(), np.square(b.T @ b).sum()
    alignment = np.square(a.T @ b).sum() / np.sqrt(own * other)
    assert abs(np.sqrt(found["cka"]) - np.sqrt(alignment)) < 8 * 8 * UNIT * 6**0.25
    debiased = unbiased_of_many(a, b) / np.sqrt(unbiased_of_many(a, a) * unbiased_of_many(b, b))
    assert abs(found["debiased"] - debiased) < 32 * 8 * UNIT * 6**0.5


def test_what_does_not_vary_has_no_alignment_and_overflow_is_infinite():
    x, y = np.arange(8, dtype=np.float32)[:, None], np.full((8, 1), 0.1, np.float32)
    assert np.isnan(accumulate(cka(), (x, y), 4)["cka"])
    found = accumulate(hsic(), (x, y), 4)
    assert found["hsic"] == 0 and found["unbiased"] == 0
    huge = np.array([[3e38], [-3e38]], np.float32)
    assert np.isinf(accumulate(cka(), (huge, huge), 2)["cka"])
    assert np.isinf(accumulate(hsic(), (huge, huge), 2)["hsic"])
    assert np.isnan(accumulate(hsic(), (x[:1], x[:1]), 1)["hsic"])


@pytest.mark.parametrize("factory", [cka, hsic])
def test_what_makes_no_sense_is_refused(factory):
    with pytest.raises(PwactError, match="pooled, each, mean, flat; found 'all'"):
        factory(positions="all")
    with pytest.raises(PwactError, match="same rows and columns"):
        factory(positions="pooled").init((MAP, jax.ShapeDtypeStruct((2, 5, 3), jnp.float32)))
    with pytest.raises(PwactError, match=r"at most 8192 points .* found 12544, .* write positions='mean'"):
        factory(positions="flat").init((MAP, jax.ShapeDtypeStruct((28, 28, 16), jnp.float32)))


@pytest.fixture(scope="module")
def network():
    key = jax.random.key(0)
    kernels = [
        0.3 * jax.random.normal(jax.random.fold_in(key, layer), shape)
        for layer, shape in enumerate([(3, 3, 1, 4), (3, 3, 4, 5)])
    ]

    def model(variables, x):
        for layer, kernel in enumerate(variables):
            x = jax.lax.conv_general_dilated(
                x, kernel, (1 + layer,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            with jax.named_scope(f"relu{layer}"):
                x = jax.nn.relu(x)
        return x.mean((1, 2))

    images = np.random.default_rng(5).normal(size=(50, 6, 6, 1)).astype(np.float32)
    data = pwact.data.arrays(images, np.arange(50) % 3, num_classes=3, name="noise")
    probe = pwact.probe(model, images[:2], variables=kernels)
    sites = [name for name, site in probe.sites.items() if site.operation == "relu"]
    return probe, kernels, data, sites, probe.run(kernels, images, sites=sites)[1]


def test_a_sweep_gives_what_numpy_gives_of_the_captures(network):
    probe, variables, data, sites, captures = network
    statistics = {
        "covariance": covariance(),
        "together": coactivation(),
        "pca": pca(2),
        "across": cross_covariance(),
        "hsic": hsic(positions="flat"),
        "cka": cka(),
    }
    tree = pwact.sweep(probe, variables, data, statistics, sites=sites, batch_size=16, micro_batch=8)
    x, y = (np.asarray(captures[site]) for site in sites)
    own = tree[pwact.core.node_name(sites[0])]
    points = FEATURES["pooled"](x)
    covariances = np.cov(points.T, bias=True)
    np.testing.assert_allclose(own["covariance.covariance"], covariances, atol=1e-6)
    np.testing.assert_allclose(own["covariance.correlation"], np.corrcoef(points.T), atol=1e-5)
    fires = (points > 0).astype(int)
    np.testing.assert_array_equal(own["together.both"], fires.T @ fires)
    np.testing.assert_allclose(own["pca.eigenvalue"], np.linalg.eigvalsh(covariances)[::-1][:2], rtol=1e-5)
    pair = tree[f"{pwact.core.node_name(sites[0])} & {pwact.core.node_name(sites[1])}"]
    means = [FEATURES["mean"](part) for part in (x, y)]
    across = (means[0] - means[0].mean(0)).T @ (means[1] - means[1].mean(0)) / 50
    np.testing.assert_allclose(pair["across.covariance"], across, atol=1e-6)
    assert pair["across.covariance"].dims == ("channel", "other_channel")
    np.testing.assert_allclose(pair["cka.cka"], kernels(*means)[1], rtol=1e-5)
    np.testing.assert_allclose(pair["cka.debiased"], without_bias(*means)[1], atol=1e-5)
    flat = [FEATURES["flat"](part) for part in (x, y)]
    np.testing.assert_allclose(pair["hsic.hsic"], kernels(*flat)[0], rtol=1e-4)
