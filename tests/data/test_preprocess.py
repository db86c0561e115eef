"""Preprocessing against float64 NumPy, and inside jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.data import Preprocess, arrays
from pwact.errors import PwactError

RNG = np.random.default_rng(0)


def test_standardise_against_float64():
    images = RNG.integers(0, 256, (1500, 5, 4, 3), dtype=np.uint8)
    images[..., 1] //= 4
    pre = Preprocess.standardise(arrays(images, np.zeros(1500, int)))
    exact = images.astype(np.float64)
    # Both are float64; sums of 30,000 squares in another order differ by some 1e-12.
    np.testing.assert_allclose(pre.mean, exact.mean((0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(pre.std, exact.std((0, 1, 2)), rtol=1e-10)
    out = np.asarray(jax.jit(pre)(images))
    assert out.dtype == np.float32
    # float32 rounds a value of order 1 by 6e-8, after a subtraction of numbers up to 255 by some 1e-5 / 64.
    np.testing.assert_allclose(out, (exact - pre.mean) / pre.std, atol=2e-6)


def test_a_channel_that_never_varies_is_only_centred():
    images = np.full((3, 2, 2, 2), 7, np.uint8)
    pre = Preprocess.standardise(arrays(images, [0, 0, 0]))
    assert (pre.mean, pre.std) == ((7.0, 7.0), (1.0, 1.0))
    assert not np.asarray(pre(images)).any()


def test_one_number_serves_all_channels():
    image = jnp.ones((2, 3, 3, 4), jnp.uint8)
    np.testing.assert_array_equal(Preprocess((0.5,), (0.25,))(image), np.full((2, 3, 3, 4), 2.0))


def test_it_is_hashable_readable_and_equal_by_value():
    one, other = Preprocess((1.0, 2.0), (3.0, 4.0)), Preprocess((1.0, 2.0), (3.0, 4.0))
    assert one == other and hash(one) == hash(other)
    assert one.describe() == "(image - [1, 2]) / [3, 4]"


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.0,), (0.0,)),
        ((0.0,), (-1.0,)),
        ((0.0, 1.0), (1.0,)),
        ((), ()),
        ((np.nan,), (1.0,)),
        ((0.0,), (np.inf,)),
    ],
)
def test_numbers_that_make_no_function(mean, std):
    with pytest.raises(PwactError, match="every std above 0"):
        Preprocess(mean, std)


def test_another_number_of_channels():
    with pytest.raises(PwactError, match="images of 2 channels"):
        Preprocess((0.0, 0.0), (1.0, 1.0))(np.zeros((1, 4, 4, 3), np.uint8))
