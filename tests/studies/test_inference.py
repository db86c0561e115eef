import numpy as np
import pytest
import scipy.stats

from pwact.errors import PwactError
from pwact.studies.inference import (
    all_once,
    chance_draws,
    holm,
    interval,
    mean_draws,
    p_value,
    resample,
    tail_share,
)


def test_weights_are_counts_of_a_draw_with_replacement():
    weights = resample(4, 7, draws=2000, seed=3)
    counts = weights.images * 7
    assert np.allclose(counts, counts.round()) and np.allclose(weights.images.sum(1), 1)
    # Multinomial counts: mean 1, variance 1 - 1/7; 2,000 x 7 counts give a standard error below 0.02.
    assert abs(counts.mean() - 1) < 1e-12
    assert abs(counts.var() - 6 / 7) < 0.06


def test_statistics_on_different_images_stay_paired_by_seed():
    one = resample(5, 10, draws=50, seed=1)
    other = resample(5, 30, draws=50, seed=1, image_set=1)
    assert np.array_equal(one.seeds, other.seeds)
    same_size = resample(5, 10, draws=50, seed=1, image_set=1)
    assert not np.array_equal(one.images, same_size.images)
    again = resample(5, 10, draws=50, seed=1)
    assert np.array_equal(one.images, again.images)


@pytest.mark.parametrize("seeds, images, draws", [(1, 5, 5), (0, 5, 5), (3, 0, 5), (3, 5, 0)])
def test_too_little_to_resample_is_refused(seeds, images, draws):
    with pytest.raises(PwactError, match="at least 2 seeds"):
        resample(seeds, images, draws=draws, seed=0)


def test_mean_draws_equal_an_explicit_resampling():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 4))
    weights = resample(3, 4, draws=20, seed=5)
    got = mean_draws(table, weights)
    for draw in range(20):
        seeds = np.repeat(np.arange(3), (weights.seeds[draw] * 3).round().astype(int))
        images = np.repeat(np.arange(4), (weights.images[draw] * 4).round().astype(int))
        assert got[draw] == pytest.approx(table[np.ix_(seeds, images)].mean(), abs=1e-12)


def test_undefined_entries_have_no_part_in_a_mean():
    table = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 5.0]])
    assert mean_draws(table, all_once(2, 3))[0] == pytest.approx(3.0)
    nothing = mean_draws(np.full((2, 3), np.nan), resample(2, 3, draws=4, seed=0))
    assert np.isnan(nothing).all()


def test_chance_is_the_expected_agreement_over_all_orders():
    decisions = np.array([[0, 0, 1, 2], [1, 1, 1, 1]])
    expected = np.mean([np.mean([np.mean(d == np.roll(d, k)) for k in range(4)]) for d in decisions])
    got = chance_draws(np.eye(3)[decisions], all_once(2, 4))[0]
    assert got == pytest.approx(expected, abs=1e-12)


def test_flat_interval_equals_scipy():
    sample = np.random.default_rng(2).gamma(2.0, size=40)
    level = 1 - 2 * tail_share(0.95, 40)
    theirs = scipy.stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, method="percentile", confidence_level=level, rng=7
    ).confidence_interval
    weights = resample(40, 1, draws=20_000, seed=0)
    ours = interval(sample.mean(), mean_draws(sample[:, None], weights), seeds=40)
    # Two Monte Carlo runs: a 1.2 % percentile of 20,000 draws has a standard error of 0.03 deviations.
    tolerance = 5 * 0.03 * np.sqrt(2) * sample.std() / np.sqrt(40)
    assert abs(ours.low - theirs.low) < tolerance and abs(ours.high - theirs.high) < tolerance


def test_tails_widen_for_few_seeds_and_are_nominal_for_many():
    assert tail_share(0.95, 100_000) == pytest.approx(0.025, rel=1e-3)
    critical = scipy.stats.t.ppf(0.975, 9) * np.sqrt(10 / 9)
    assert tail_share(0.95, 10) == pytest.approx(scipy.stats.norm.sf(critical), rel=1e-9)
    assert tail_share(0.95, 2) < 1e-6


@pytest.mark.parametrize("seeds", [5, 10, 50])
def test_p_value_and_interval_agree(seeds):
    draws = np.random.default_rng(seeds).normal(size=9_999)
    bounds = interval(0.0, draws, seeds=seeds, level=0.9)
    step = 0.1  # counting one more draw than found moves p by up to 2 % out here
    assert p_value(draws, bounds.low - step, above=True, seeds=seeds) <= 0.1
    assert p_value(draws, bounds.low + step, above=True, seeds=seeds) > 0.1
    assert p_value(draws, bounds.high - step, above=False, seeds=seeds) > 0.1
    assert p_value(draws, bounds.high + step, above=False, seeds=seeds) <= 0.1


def test_undefined_draws_count_against_both_bounds():
    draws = np.linspace(0.0, 1.0, 10_000)
    few, many = draws.copy(), draws.copy()
    few[4000:4050], many[4000:4200] = np.nan, np.nan  # 0.5 % and 2 %; the tail of 10 seeds is 0.86 %
    whole, wider, none = (interval(0.5, each, seeds=10) for each in (draws, few, many))
    assert wider.low < whole.low and wider.high > whole.high
    assert wider.low == pytest.approx(0.0086 - 0.005, abs=2e-4)
    assert np.isnan(none.low) and np.isnan(none.high)
    # A bound that is NaN must not be read as clearing a threshold, nor undefined draws as evidence.
    assert not none.low >= -10
    assert p_value(few, -1.0, above=True, seeds=10) > p_value(draws, -1.0, above=True, seeds=10)
    assert p_value(np.full(10, np.nan), -10.0, above=True, seeds=5) == 1.0


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_rejects_what_stepping_down_rejects():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.uniform(0, 0.1, 5)
        rejected = np.zeros(5, bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (5 - step):
                break
            rejected[place] = True
        assert np.array_equal(np.array(holm(p.tolist())) <= 0.05, rejected)


def simulate(rng, seeds, images, between, image, noise):
    return (
        rng.normal(0, between, (seeds, 1))
        + rng.normal(0, image, (1, images))
        + rng.normal(0, noise, (seeds, images))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "between, image, noise", [(1.0, 0.0, 0.0), (0.1, 1.0, 1.0), (0.0, 1.0, 3.0), (0.3, 1.0, 1.0)]
)
def test_coverage_of_crossed_data(between, image, noise):
    """95 % intervals over 10 seeds hold the truth 95 % of the time, or a little more often.

    1,000 trials give a standard error of 0.7 points. Resampling both seeds and images counts pure noise
    up to three times over (Owen 2007), so coverage may exceed the level; it may not fall short of it by more
    than the widening's approximation and the Monte Carlo error, 2.5 points.
    """
    rng = np.random.default_rng(11)
    weights = resample(10, 60, draws=2000, seed=0)
    hits = 0
    for _ in range(1000):
        table = simulate(rng, 10, 60, between, image, noise)
        bounds = interval(table.mean(), mean_draws(table, weights), seeds=10)
        hits += bounds.low <= 0 <= bounds.high
    assert hits / 1000 >= 0.925
    if between == 1.0:
        assert hits / 1000 <= 0.98
