"""Histograms on hard data, against numpy.histogram."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import histogram

from .passes import accumulate, repeated

IMAGES = 131_072


def hard(images: int) -> np.ndarray:
    """A channel each: normal, an offset, ties, all magnitudes, huge, constant, rectified, an outlier."""
    rng = np.random.default_rng(0)
    channels = [
        rng.normal(size=images),
        1e6 + rng.uniform(-1, 1, images),
        rng.integers(-16, 17, images),
        rng.choice([-1, 1], images) * 10.0 ** rng.uniform(-37, 38, images),
        3.4e38 * rng.uniform(-1, 1, images),
        np.full(images, 0.1),
        np.maximum(rng.normal(size=images), 0),
        np.where(np.arange(images) == 5, 1e30, rng.normal(size=images)),
    ]
    return np.stack(channels, 1).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return hard(IMAGES)


@pytest.mark.parametrize("bins", [1, 33])
def test_bins_that_are_found_are_those_of_numpy(data, bins):
    found = accumulate(histogram(bins), data, 4096)
    for channel, x in enumerate(data.T):
        edge = found["edges"][:, channel].astype(np.float64)
        count, _ = np.histogram(x, edge)
        assert found["count"][:, channel].tolist() == count.tolist()
        wanted = np.histogram_bin_edges(x.astype(np.float64), bins)
        assert (np.abs(edge - wanted) <= 4 * np.spacing(np.float32(np.abs(wanted).max()))).all()
    assert not found["below"].any() and not found["above"].any()
    assert (found["count"].sum(0) == IMAGES).all()


def test_edges_that_no_float32_is_have_their_neighbours_on_the_right_side():
    edges = (-3.4e38, -0.3, -1e-40, 0.1, 0.7, 1 + 1e-12, 3.4028234e38)
    near = np.float32([-0.3, 0.1, 0.7, 1.0, 0.0, 3e38, -3e38])
    x = np.concatenate([near, np.nextafter(near[:4], np.float32(9)), np.nextafter(near[:4], np.float32(-9))])
    found = accumulate(histogram(edges), x[:, None], len(x))
    assert found["count"][:, 0].tolist() == np.histogram(x, edges)[0].tolist()


def test_a_range_has_the_bins_of_numpy_and_counts_what_lies_outside(data):
    x = np.concatenate([data[:, [2]] / 4, np.float32([[-2], [2], [2.000001], [0]])])
    found = accumulate(histogram(32, range=(-2.0, 2.0)), x, len(x) // 4)
    assert found["count"][:, 0].tolist() == np.histogram(x, 32, range=(-2, 2))[0].tolist()
    assert found["below"] == (x < -2).sum() and found["above"] == (x > 2).sum()
    assert found["edges"].tolist() == np.linspace(-2, 2, 33, dtype=np.float32).tolist()


def test_one_value_too_large_for_bins_of_its_own_is_still_counted():
    found = accumulate(histogram(4), np.full((8, 1), 1e20, np.float32), 4)
    assert found["count"][:, 0].tolist() == [0, 0, 0, 8]


def test_counts_are_exact_where_32_bits_are_not_enough():
    acc = histogram((0.0, 1.0, 2.0))
    found = repeated(acc, [(np.float32([[0.5], [3.0]]), 33), (np.float32([[1.5], [-1.0], [-1.0]]), 0)])
    assert found["count"][:, 0].tolist() == [2**33, 1]
    assert found["below"].tolist() == [2] and found["above"].tolist() == [2**33]


def test_half_precision_counts_as_what_it_is():
    x = np.linspace(-1, 1, 64).astype(jnp.bfloat16)[:, None]
    found = accumulate(histogram(8, range=(-1.0, 1.0)), x, 16)
    assert found["count"][:, 0].tolist() == np.histogram(x.astype(np.float32), 8, (-1, 1))[0].tolist()


def test_points_that_are_scalars_and_edges_in_a_list_work():
    found = accumulate(histogram(2), np.float32([0, 1, 2, 2]), 2)
    assert found["count"].tolist() == [1, 3] and found["edges"].tolist() == [0, 1, 2]
    assert histogram([0.0, 1.0]) is histogram((0.0, 1.0)) and histogram(3) is not histogram(4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: histogram(0), "bins of 1 or more"),
        (lambda: histogram((1.0,)), "two edges or more"),
        (lambda: histogram((0.0, 1.0, 1.0)), "each larger than the one before"),
        (lambda: histogram((0.0, float("inf"))), "a finite number"),
        (lambda: histogram((0.0, 1e300)), "that float32 can hold"),
        (lambda: histogram((0.0, 1.0), range=(0.0, 1.0)), "edges, or a number of bins and a range"),
        (lambda: histogram(3, range=(1.0, 0.0)), "whose second number is larger"),
        (lambda: histogram(3).init(jax.ShapeDtypeStruct((2,), jnp.int32)), "floating-point"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PwactError, match=words):
        make()
