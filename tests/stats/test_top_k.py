"""The strongest and the weakest images of every point, against a stable sort by NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.stats import bottom_k, top_k
from pwact.types import Observation


def accumulate(acc, x, index, batch):
    """All of x in batches, in one compiled scan."""

    def one(state, part):
        activation, index = part
        zero = jnp.zeros(batch, jnp.int32)
        return acc.update(state, Observation(activation, zero, zero, index, index >= 0)), None

    @jax.jit
    def run(x, index):
        state = acc.init(jax.ShapeDtypeStruct(x.shape[2:], x.dtype))
        return acc.finalize(jax.lax.scan(one, state, (x, index))[0])

    parts = (jnp.asarray(array.reshape(-1, batch, *array.shape[1:])) for array in (x, index))
    return {name: np.asarray(value.values) for name, value in run(*parts).items()}


def by_sorting(x, index, k):
    order = np.lexsort((np.broadcast_to(index[:, None], x.shape), -x), axis=0)[:k]
    return np.take_along_axis(x, order, 0), index[order]


VALUES = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "mostly zeros": lambda rng, shape: np.maximum(rng.normal(size=shape) - 4, 0),
    "ties": lambda rng, shape: rng.integers(-2, 3, shape),
    "rising": lambda rng, shape: np.broadcast_to(np.arange(shape[0])[:, None], shape),
    "far apart": lambda rng, shape: rng.choice([-3e38, -1e-37, 0.0, 1e-37, 3e38], shape),
}


@pytest.mark.parametrize("values", VALUES)
def test_each_point_of_100_000_images_in_any_order(values):
    rng = np.random.default_rng(0)
    images, k = 102_400, 5
    x = VALUES[values](rng, (images, 7)).astype(np.float32)
    index = rng.permutation(images).astype(np.int32)
    value, place = by_sorting(x, index, k)
    found = accumulate(top_k(k, per="point"), x, index, 64)
    np.testing.assert_array_equal(found["value"], value)
    np.testing.assert_array_equal(found["index"], place)
    value, place = by_sorting(-x, index, k)
    found = accumulate(bottom_k(k, per="point"), x, index, 64)
    np.testing.assert_array_equal(found["value"], -value)
    np.testing.assert_array_equal(found["index"], place)


def test_more_ranks_than_a_batch_and_than_there_are_images():
    x = np.arange(12, dtype=np.float32)[:, None]
    index = np.where(np.arange(12) % 3 == 0, -1, np.arange(12)).astype(np.int32)
    found = accumulate(top_k(10, per="point"), x, index, 4)
    assert found["value"][:8, 0].tolist() == [11, 10, 8, 7, 5, 4, 2, 1]
    assert np.isnan(found["value"][8:]).all() and found["index"][8:].tolist() == [[-1], [-1]]


def test_weakest_of_a_channel_with_its_place():
    x = np.zeros((4, 2, 3, 1), np.float32)
    x[2, 1, 2], x[3, 0, 1] = -2.0, -5.0
    found = accumulate(bottom_k(3), x, np.arange(4, dtype=np.int32), 2)
    assert found["value"].ravel().tolist() == [-5, -2, 0]
    places = [tuple(found[name].ravel().tolist()) for name in ("index", "row", "column")]
    assert places == [(3, 2, 0), (0, 1, 0), (1, 2, 0)]


def test_another_per_is_refused():
    with pytest.raises(PwactError, match="'channel' or 'point'"):
        top_k(3, per="position")


@pytest.mark.parametrize(("k", "batch"), [(3, 16), (3, 400), (300, 16)], ids=["usual", "many", "deep"])
def test_the_strongest_images_of_a_channel_and_the_first_place_in_each(k, batch):
    """Whichever way the best are found: values from few numbers, so that ties decide nearly all."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 4, (400, 3, 4, 2)).astype(np.float32)
    index = rng.permutation(400).astype(np.int32)
    strongest = x.max((1, 2))
    value, image = by_sorting(strongest, index, k)
    found = accumulate(top_k(k), x, index, batch)
    np.testing.assert_array_equal(found["value"], value)
    np.testing.assert_array_equal(found["index"], image)
    row_of = np.argsort(index)
    for rank, channel in np.ndindex(k, 2):
        own = x[row_of[image[rank, channel]], :, :, channel]
        first = np.argmax(own)
        place = found["row"][rank, channel], found["column"][rank, channel]
        assert place == np.unravel_index(first, own.shape)
