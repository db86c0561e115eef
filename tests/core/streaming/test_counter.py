from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pwact.core.streaming.counter import Counter


def test_carries_between_limbs():
    big = Counter.zeros().add(2**32 - 1)
    assert int(np.asarray(big.add(1))) == 2**32
    assert int(np.asarray(big.merge(big))) == 2**33 - 2
    assert int(np.asarray(big.merge(big).merge(big.add(5)))) == 3 * (2**32 - 1) + 5


def test_arrays_inside_jit_and_vmap():
    amounts = jnp.array([1, 2**31, 2**32 - 1], jnp.uint32)

    @jax.jit
    def run(amounts):
        zero = jax.vmap(lambda amount: Counter.zeros().add(amount))(amounts)
        return jax.lax.fori_loop(0, 10, lambda _, count: count.add(amounts), zero)

    count = run(amounts)
    assert count.shape == (3,) and np.asarray(count).dtype == np.int64
    np.testing.assert_array_equal(np.asarray(count), 11 * np.asarray(amounts).astype(np.int64))
    np.testing.assert_allclose(count.to_float(), np.asarray(count), rtol=2**-23)
