"""Blocks of rows change nothing but the time: compared with the same updates on whole batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core import backend
from pwact.core.streaming.blocks import in_blocks
from pwact.stats import by_class, extrema, firing, moments, named
from pwact.types import Observation

SHAPE = (16, 16, 8)  # 8 KiB an image: large enough for blocks


def results(monkeypatch, blocks: bool, seen: Observation):
    with monkeypatch.context() as patch:
        if not blocks:
            patch.setattr(backend, "SMALL_ROW_BYTES", 1 << 60)
        acc = by_class(named(m=moments(), e=extrema(), f=firing()), 3)
        state = jax.jit(lambda state, seen: acc.update(state, seen))(
            acc.init(jax.ShapeDtypeStruct(SHAPE, jnp.float32)), seen
        )
        return {name: np.asarray(value.values) for name, value in acc.finalize(state).items()}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="blocks are for CPU")
@pytest.mark.parametrize("images", [24, 13, 8])
def test_blocks_agree_with_whole_batches(monkeypatch, images):
    rng = np.random.default_rng(images)
    x = rng.normal(size=(images, *SHAPE)).astype(np.float32)
    valid = rng.random(images) < 0.7
    x[~valid] = np.nan
    label = np.sort(rng.integers(0, 3, images)).astype(np.int32)
    seen = Observation(*map(jnp.asarray, (x, label, label, np.arange(images, dtype=np.int32), valid)))
    blocks, whole = results(monkeypatch, True, seen), results(monkeypatch, False, seen)
    for name in blocks:
        # Both lie within the bound that `moments` states for up to 24 updates of up to 24 rows, sigma 1.
        tolerance = 2 * 48 * 2**-24 if name.endswith((".mean", ".variance")) else 0
        np.testing.assert_allclose(blocks[name], whole[name], rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="blocks are for CPU")
def test_only_blocks_with_valid_rows_are_visited():
    visits = in_blocks(lambda state, seen: state + 1)
    valid = jnp.zeros(64, bool).at[jnp.array([20, 33])].set(True)
    zero = jnp.zeros(64, jnp.int32)
    seen = Observation(jnp.zeros((64, 2048)), zero, zero, zero, valid)
    assert int(visits(0, seen)) == 3  # rows 16 to 39, in blocks of 8
    assert int(visits(0, seen._replace(valid=jnp.zeros(64, bool)))) == 0


def test_a_block_divides_the_batch():
    for images in range(1, 40):
        rows = backend.rows_at_once(images, 1 << 20)
        assert rows is None or (images % rows == 0 and rows <= backend.ROWS)
    assert backend.rows_at_once(64, 128) is None
