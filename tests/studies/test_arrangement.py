"""P1 on networks whose answer is known, through the probe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.studies import arrangement, planted
from pwact.studies.arrangement import aii, evidence, retained
from pwact.studies.config import ArrangementRule
from pwact.studies.inference import resample
from pwact.studies.verdict import judge

SEEDS, IMAGES, PERMUTATIONS = 3, 256, 16


def run(network, variables, images, modes, key, permutations=PERMUTATIONS):
    cut = pwact.probe(network.function, images[:2], variables=network.variables).cut(planted.SITE)
    return arrangement.measure(
        jax.jit(arrangement.decisions(cut, modes=modes)),
        variables,
        images,
        map_shape=images.shape[1:],
        modes=modes,
        permutations=permutations,
        key=jax.random.key(key),
    )


def measured(make, modes=("joint",)):
    networks = [make(seed) for seed in range(SEEDS)]
    variables = jax.tree.map(lambda *each: jnp.stack(each), *(each.variables for each in networks))
    images = planted.images(IMAGES, seed=1)
    direct = networks[0].function(networks[0].variables, jnp.asarray(images)).argmax(-1)
    return run(networks[0], variables, images, modes, 2), np.asarray(direct)


def index(result, mode=0):
    weights = resample(SEEDS, IMAGES, draws=200, seed=0)
    return aii(result.agreement[:, mode], result.clean, planted.CLASSES, weights)


@pytest.fixture(scope="module")
def bag():
    return measured(planted.sums_scores, arrangement.MODES)


def test_shapes_and_clean_decisions(bag):
    result, direct = bag
    assert result.clean.shape == (SEEDS, IMAGES)
    assert result.shuffled.shape == (SEEDS, 3, PERMUTATIONS, IMAGES)
    assert np.array_equal(result.clean[0], direct)
    assert len(np.unique(result.clean)) == planted.CLASSES


def test_a_planted_bag_is_indifferent_to_arrangement(bag):
    assert index(bag[0], arrangement.MODES.index("joint")).estimate == pytest.approx(1.0, abs=1e-12)


def test_a_planted_bag_minds_when_its_points_are_torn_apart(bag):
    result, _ = bag
    for mode in ("channel", "rotated"):
        assert 0.1 < index(result, arrangement.MODES.index(mode)).estimate < 0.9


def test_sums_of_channels_do_not_mind_torn_points():
    result, _ = measured(planted.adds_channels, ("joint", "channel"))
    # Sums in another order: a decision may flip where two classes tie to the last bit of float32.
    for mode in range(2):
        assert index(result, mode).estimate == pytest.approx(1.0, abs=1e-3)


def test_a_planted_reader_of_arrangement_keeps_nothing():
    # 3 x 256 x 16 decisions at chance 1/4 of 3 x 256 images: a standard error of about 0.01.
    assert index(measured(planted.reads_arrangement)[0]).estimate == pytest.approx(0.0, abs=0.04)


def test_a_planted_reader_of_one_position_keeps_one_in_p():
    assert index(measured(planted.reads_one_position)[0]).estimate == pytest.approx(1 / 64, abs=0.04)


def test_gap_at_the_last_map_is_indifferent_by_construction():
    """Average pooling and a linear head: a tautology, so a test of the instrument and no evidence."""
    network = planted.contributes_at(64, seed=0)
    rng = np.random.default_rng(0)
    last = jnp.asarray(rng.normal(size=(8, 8, 8, 4)), jnp.float32)

    class Cut:
        below = staticmethod(lambda variables, image: (image, ()))
        above = staticmethod(lambda v, a, rest: a.mean((1, 2)) @ v["head"]["kernel"])

    variables = jax.tree.map(lambda each: each[None], network.variables)
    modes = ("joint", "channel")
    orders = arrangement.draw_orders(jax.random.key(0), last.shape, 4, modes)
    clean, shuffled = arrangement.decisions(Cut, modes=modes)(variables, last, orders)
    assert (np.asarray(shuffled) == np.asarray(clean)[:, None, None]).all()


def test_the_key_decides_the_permutations():
    network = planted.reads_arrangement(0)
    images = planted.images(16, seed=1)
    variables = jax.tree.map(lambda each: each[None], network.variables)
    one, again, other = (run(network, variables, images, ("joint",), k, 4).shuffled for k in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_images_need_not_fill_the_last_part():
    network = planted.sums_scores(0)
    images = planted.images(100, seed=1)
    variables = jax.tree.map(lambda each: each[None], network.variables)
    result = run(network, variables, images, ("joint",), 0, 2)
    assert result.shuffled.shape == (1, 1, 2, 100)
    assert np.array_equal(
        result.clean[0], network.function(network.variables, jnp.asarray(images)).argmax(-1)
    )


def test_aii_by_hand():
    clean = np.array([[0, 1, 0, 1], [0, 0, 0, 1]])
    agreement = np.array([[1.0, 0.5, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    # Chances 1/2 and 10/16, mean 9/16; mean agreement 7/8.
    got = aii(agreement, clean, 2, resample(2, 4, draws=5, seed=0)).estimate
    assert got == pytest.approx((7 / 8 - 9 / 16) / (1 - 9 / 16))


def test_one_answer_for_everything_has_no_index():
    clean = np.zeros((2, 8), int)
    assert np.isnan(aii(np.ones((2, 8)), clean, 3, resample(2, 8, draws=5, seed=0)).estimate)


def test_retained_by_hand():
    correct, shuffled = np.full((2, 8), 0.9), np.full((2, 8), 0.5)
    got = retained(correct, shuffled, 10, resample(2, 8, draws=5, seed=0))
    assert got.estimate == pytest.approx(0.4 / 0.8) and np.allclose(got.draws, 0.5)
    at_chance = retained(np.full((2, 8), 0.1), shuffled, 10, resample(2, 8, draws=5, seed=0))
    assert np.isnan(at_chance.estimate)


@pytest.mark.parametrize(
    "joint, channel, kept, expected",
    [
        (1.0, 0.3, 1.0, "supported"),
        (0.4, 0.1, 1.0, "undetermined"),  # AII_s too low
        (0.9, 0.85, 1.0, "undetermined"),  # no better than single channels
        (1.0, 0.3, 0.9, "undetermined"),  # between the thresholds
        (1.0, 0.3, 0.7, "refuted"),
    ],
)
def test_the_rule_from_tables_to_verdict(joint, channel, kept, expected):
    rng = np.random.default_rng(0)
    shape, weights = (10, 400), resample(10, 400, draws=2000, seed=0)
    clean = rng.integers(0, 4, shape)

    def shares(value):
        return (rng.random((*shape, 16)) < 0.25 + 0.75 * value).mean(-1)

    aii_s, aii_i = (aii(shares(value), clean, 4, weights) for value in (joint, channel))
    ratio = retained((rng.random(shape) < 0.97).astype(float), shares(kept * 0.96), 4, weights)
    found = evidence(aii_s, aii_i, ratio, ArrangementRule(), level=0.95, controls=[])
    assert judge([found], admissible=[True])[0].verdict == expected
