"""P4 on networks whose answer is known, through the probe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError
from pwact.studies import concentration, planted
from pwact.studies.concentration import FILLS, ORDERS, checked, evidence, head_weights, kappa, mean, measure
from pwact.studies.config import ConcentrationRule
from pwact.studies.inference import resample
from pwact.studies.verdict import difference, judge

IMAGES = 64


def measured(k, keep, seed=0):
    network = planted.contributes_at(k, seed=seed)
    images = planted.images(IMAGES, seed=1)
    cut = pwact.probe(network.function, images[:2], variables=network.variables).cut(planted.SITE)
    stacked = jax.tree.map(lambda each: jnp.stack([each, each]), network.variables)
    return jax.jit(measure(cut, keep=keep))(stacked, images, jax.random.key(0))


@pytest.mark.parametrize("k", [1, 6, 64])
def test_planted_points_are_counted(k):
    got = checked(measured(k, keep=6), "planted", margin_error=1e-3)
    # float32 sums of 64 terms
    assert np.allclose(got.gini, 1 - k / 64, atol=1e-5)
    assert np.allclose(got.hoyer, (8 - np.sqrt(k)) / 7, atol=1e-5)
    assert np.allclose(got.k90, np.ceil(0.9 * k) / 64, atol=1e-6)
    assert got.gini.shape == (2, IMAGES) and got.kept.shape == (2, len(ORDERS), len(FILLS), IMAGES)
    share = np.arange(65) / 64
    assert np.allclose(got.lorenz, np.clip((share * 64 - (64 - k)) / k, 0, 1), atol=1e-5)


def test_kept_points_against_numpy():
    """The six points that count are kept and the rest is filled: decisions recomputed in float64."""
    got = checked(measured(6, keep=6), "planted", margin_error=1e-3)
    variables = planted.contributes_at(6, seed=0).variables
    images = planted.images(IMAGES, seed=1).astype(np.float64)
    mask = np.asarray(variables["mask"])
    last = mask * np.log1p(np.exp(8 * images.mean((1, 2), keepdims=True)))
    kernel = np.asarray(variables["head"]["kernel"], np.float64)
    decision = (last.mean((1, 2)) @ kernel).argmax(-1)
    filled = np.where(mask > 0, last, last.mean((0, 1, 2)))
    kept = (filled.mean((1, 2)) @ kernel).argmax(-1) == decision
    nothing = (last.mean((0, 1, 2)) @ kernel).argmax(-1) == decision
    by, fill = ORDERS.index("contribution"), FILLS.index("dataset mean")
    assert 0.1 < kept.mean() < 1 and len(np.unique(decision)) > 1
    assert np.array_equal(got.kept[0, by, fill], kept) and np.array_equal(got.nothing[0, fill], nothing)


def test_kappa_by_hand():
    kept, nothing = np.zeros((2, 3, 2, 8), bool), np.zeros((2, 2, 8), bool)
    kept[:, 1, 0, :6], nothing[:, 0, :4] = True, True
    measurement = measured(6, keep=6)._replace(kept=kept, nothing=nothing)
    got = kappa(measurement, 1, 0, resample(2, 8, draws=20, seed=0))
    assert got.estimate == pytest.approx((6 / 8 - 4 / 8) / (1 - 4 / 8))


def test_the_last_map_is_additive_by_construction():
    """A GAP and a linear head: contributions add up to the margin. A tautology, so a test, no evidence."""
    assert float(np.max(measured(64, keep=6).error)) < 1e-6


def test_another_head_is_refused():
    got = measured(6, keep=6)
    with pytest.raises(PwactError, match="flatten"):
        checked(got._replace(error=np.array([0.0, 0.3])), "flatten", margin_error=1e-3)
    with pytest.raises(PwactError, match="add up to the margin"):
        checked(got._replace(error=np.array([np.nan, 0.0])), "undefined", margin_error=1e-3)


def test_head_weights_need_a_head():
    with pytest.raises(PwactError, match=r"head\.kernel"):
        head_weights({"last": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}})


@pytest.mark.parametrize(
    "trained, untrained, shuffled, expected",
    [
        (0.75, 0.5, 0.6, "supported"),
        (0.6, 0.4, 0.4, "undetermined"),  # straddles
        (0.55, 0.4, 0.4, "undetermined"),  # below support, yet above both controls
        (0.75, 0.8, 0.6, "refuted"),  # architecture, not learning
        (0.75, 0.5, 0.85, "refuted"),
    ],
)
def test_the_rule_from_tables_to_verdict(trained, untrained, shuffled, expected):
    rng = np.random.default_rng(0)
    shape = (10, 300)
    weights = resample(10, 300, draws=2000, seed=0)
    other = resample(10, 300, draws=2000, seed=0, image_set=1)

    def table(value):
        return value + rng.normal(0, 0.02, (10, 1)) + rng.normal(0, 0.1, shape)

    gini = mean(table(trained), weights)
    found = evidence(
        gini,
        difference(gini, mean(table(untrained), weights)),
        difference(mean(table(trained), other), mean(table(shuffled), other)),
        ConcentrationRule(),
        level=0.95,
        controls=[],
    )
    assert judge([found], admissible=[True])[0].verdict == expected


def test_images_without_positive_contribution_are_left_out():
    table = np.array([[0.5, np.nan], [0.7, 0.9]])
    assert mean(table, resample(2, 2, draws=5, seed=0)).estimate == pytest.approx(0.7)
    assert concentration.mean(np.array([[0.5, 0.5]] * 2), resample(2, 2, draws=5, seed=0)).estimate == 0.5
