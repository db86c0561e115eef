"""From a table of seeds by images to an interval and a p-value: the hierarchical bootstrap, and Holm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from pwact.errors import PwactError
from pwact.records import Interval

HOW = (
    "Intervals: hierarchical bootstrap; every draw takes seeds, then images, with replacement, and all "
    "its seeds share its images, because all networks saw the same; percentiles widened for the number of"
    " seeds. p-values invert them: of a support, the largest of its criteria; of a refutation, the least "
    "times their number; Holm over the predictions."
)


class Resamples(NamedTuple):
    """How often each seed and each image was drawn, as weights that sum to 1 in every draw.

    Images are shared by all seeds of a draw, because all networks saw the same images: an image that
    is hard is hard for every seed, and drawing images anew for each seed would average that away.
    """

    seeds: Float[np.ndarray, "draw seed"]
    images: Float[np.ndarray, "draw image"]


def resample(seeds: int, images: int, *, draws: int, seed: int, image_set: int = 0) -> Resamples:
    """Weights of a bootstrap that draws seeds, then images, with replacement.

    Two calls with the same `seed` draw the same seeds, whatever their `image_set`: statistics that are
    measured on different images stay paired by seed.

    Args:
        seeds: number of networks, at least 2.
        images: number of images every network saw, at least 1.
        draws: number of draws.
        seed: of the random draws.
        image_set: which images; calls with different numbers draw independently of each other.

    Returns:
        The weights, float64 `[draws, seeds]` and `[draws, images]`.

    Raises:
        PwactError: fewer than two seeds, no image, or no draw.

    Example:
        >>> resample(3, 5, draws=4, seed=0).images.sum(axis=1)
        array([1., 1., 1., 1.])
    """
    if seeds < 2 or images < 1 or draws < 1:
        raise PwactError(
            "at least 2 seeds, 1 image and 1 draw",
            f"{seeds} seeds, {images} images, {draws} draws",
            "train more seeds; an interval over networks needs two or more",
        )
    of_seeds = np.random.default_rng([seed, 0])
    of_images = np.random.default_rng([seed, 1, image_set])
    return Resamples(_weights(of_seeds, seeds, draws), _weights(of_images, images, draws))


def _weights(rng: np.random.Generator, count: int, draws: int) -> Float[np.ndarray, "draw item"]:
    drawn = rng.integers(0, count, (draws, count), dtype=np.int64)
    drawn += count * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count) / count


def mean_draws(table: Float[np.ndarray, "seed image"], weights: Resamples) -> Float[np.ndarray, " draw"]:
    """The mean over seeds and images in every draw.

    `sum_s sum_n u_s v_n t_sn`, over the entries that are numbers: an image whose metric is undefined
    (NaN) has no part in numerator or denominator.

    Args:
        table: one value a network and an image; NaN where it is undefined.
        weights: from `resample`.

    Returns:
        One mean a draw, NaN where nothing that was drawn is a number.

    Example:
        >>> weights = resample(2, 3, draws=5, seed=0)
        >>> mean_draws(np.full((2, 3), 0.25), weights)
        array([0.25, 0.25, 0.25, 0.25, 0.25])
    """
    known = np.isfinite(table)
    total = _bilinear(np.where(known, table, 0.0), weights)
    if known.all():
        return total
    share = _bilinear(known.astype(float), weights)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)


def _bilinear(table: np.ndarray, weights: Resamples) -> np.ndarray:
    return ((weights.images @ table.T) * weights.seeds).sum(axis=1)


def chance_draws(
    decisions: Float[np.ndarray, "seed image class"], weights: Resamples
) -> Float[np.ndarray, " draw"]:
    """Agreement of the decisions with those of the same images in shuffled order, in every draw.

    `mean_s sum_k q_sk^2`, with `q_sk` the share of images that network s puts into class k: the
    expected agreement over all orders.

    Args:
        decisions: one-hot decisions of every network.
        weights: from `resample`.

    Returns:
        One value a draw.

    Example:
        >>> half = np.tile(np.eye(2), (3, 10, 1))
        >>> chance_draws(half, all_once(3, 20)).round(6)
        array([0.5])
    """
    seeds, images, classes = decisions.shape
    flat = decisions.transpose(1, 0, 2).reshape(images, seeds * classes)
    shares = (weights.images @ flat).reshape(-1, seeds, classes)
    return ((shares**2).sum(axis=2) * weights.seeds).sum(axis=1)


def all_once(seeds: int, images: int) -> Resamples:
    """The weights of the data themselves, as a single draw: what a point estimate is computed with.

    Example:
        >>> all_once(2, 4).images
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    return Resamples(np.full((1, seeds), 1 / seeds), np.full((1, images), 1 / images))


def interval(
    estimate: float, draws: Float[np.ndarray, " draw"], *, seeds: int, level: float = 0.95
) -> Interval:
    """Percentile interval, widened for the number of seeds.

    With S seeds a plain percentile interval is too short: it has the normal's tails where Student's t
    is due, and its spread misses the factor S/(S-1). So the percentiles are taken at the level
    `Phi(-t_{S-1} sqrt(S/(S-1)))` in each tail (Hesterberg, "What Teachers Should Know About the
    Bootstrap", 2015, section 5.3).

    Args:
        estimate: the statistic of the data.
        draws: the statistic in every bootstrap draw.
        seeds: number of networks, at least 2.
        level: two-sided level of confidence.

    Returns:
        The interval. A draw in which the statistic is undefined counts as beyond both ends; a bound that
        is then not finite is NaN.

    Example:
        >>> many = interval(0.5, np.linspace(0, 1, 1001), seeds=10_000, level=0.9)
        >>> round(many.low, 3), round(many.high, 3)
        (0.049, 0.951)
    """
    tail = tail_share(level, seeds)
    known = np.isfinite(draws)
    # Weighted sums carry rounding of 1e-15, which must not decide on which side of a threshold 1 lies.
    low = float(np.quantile(np.where(known, draws, -np.inf), tail, method="lower").round(12))
    high = float(np.quantile(np.where(known, draws, np.inf), 1 - tail, method="higher").round(12))
    low, high = (bound if np.isfinite(bound) else np.nan for bound in (low, high))
    return Interval(round(float(estimate), 12), low, high, level)


def tail_share(level: float, seeds: int) -> float:
    """Share of draws beyond each end of an interval of this level over this many seeds.

    Example:
        >>> round(tail_share(0.95, 10), 4), round(tail_share(0.95, 1000), 4)
        (0.0086, 0.0248)
    """
    critical = stats.t.ppf(0.5 + level / 2, seeds - 1)
    return float(special.ndtr(-critical * np.sqrt(seeds / (seeds - 1))))


def p_value(draws: Float[np.ndarray, " draw"], threshold: float, *, above: bool, seeds: int) -> float:
    """Two-sided p-value that matches `interval`: p <= 1 - level where the interval clears the threshold.

    With `h` the share of draws on the wrong side of the threshold (undefined draws are; one more than
    were found is counted), `p = 2 T_{S-1}(Phi^-1(h) sqrt((S-1)/S))`, at most 1.

    Args:
        draws: the statistic in every bootstrap draw.
        threshold: what the statistic should clear.
        above: whether it should lie above (else below) the threshold.
        seeds: number of networks, at least 2.

    Returns:
        The p-value.

    Example:
        >>> p_value(np.linspace(0, 1, 1001), 0.05, above=True, seeds=10_000) < 0.11
        True
    """
    right = np.count_nonzero(draws > threshold if above else draws < threshold)
    share = (len(draws) - right + 1) / (len(draws) + 1)
    quantile = special.ndtri(share) * np.sqrt((seeds - 1) / seeds)
    return float(min(1.0, 2 * stats.t.cdf(quantile, seeds - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment over a family of hypotheses.

    Sorted ascending, `p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`.

    Args:
        p_values: one a hypothesis.

    Returns:
        Adjusted values in the given order: rejecting those <= alpha keeps the chance of any false
        rejection at alpha, whatever their dependence (Holm, Scand. J. Statist. 1979).

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.minimum(1.0, np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted.tolist()
