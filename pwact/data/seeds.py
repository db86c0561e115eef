"""From a seed to NumPy's generator."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pwact.errors import PwactError


def generator(seed: Any) -> np.random.Generator:
    """NumPy's generator from an integer or from a jax key: the same numbers on every machine."""
    return np.random.default_rng(seed_words(seed))


def seed_words(seed: Any) -> list[int]:
    """What seeds NumPy's generator: the integer, or the words of a jax key."""
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        if seed < 0:
            raise PwactError("a seed of 0 or more", f"{seed}", "pick another seed")
        return [int(seed)]
    try:
        data = jax.random.key_data(seed) if jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key) else seed
        words = np.asarray(data)
        if words.dtype != np.uint32 or words.ndim != 1:
            raise TypeError
    except (AttributeError, TypeError):
        raise PwactError(
            "an integer or one jax key as seed", repr(seed), "pass seed=0 or jax.random.key(0)"
        ) from None
    return [int(word) for word in words]
