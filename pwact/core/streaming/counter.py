"""Counts that stay exact beyond 2**32, on devices that have no 64-bit integers."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Counter:
    """A count, or an array of counts, as two uint32 limbs: high * 2**32 + low.

    `numpy.asarray(counter)` is the exact int64 value.

    Args:
        high: uint32, the upper limb.
        low: uint32, the lower limb, same shape.

    Example:
        >>> import numpy as np
        >>> count = Counter.zeros().add(4_000_000_000).add(4_000_000_000)
        >>> int(np.asarray(count))
        8000000000
    """

    high: Any
    low: Any

    @classmethod
    def zeros(cls, shape: tuple[int, ...] = ()) -> Counter:
        """Counts of nothing."""
        return cls(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.low.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def add(self, amount: Any) -> Counter:
        """The counts after `amount` more, each below 2**32."""
        low = self.low + jnp.asarray(amount, jnp.uint32)
        return Counter(self.high + (low < self.low).astype(jnp.uint32), low)

    def merge(self, other: Counter) -> Counter:
        """The sum of two counts, exactly."""
        total = self.add(other.low)
        return Counter(total.high + other.high, total.low)

    def to_float(self) -> jax.Array:
        """The nearest float32 or one beside it: a divisor, not a count."""
        return self.high.astype(jnp.float32) * 2.0**32 + self.low.astype(jnp.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        exact = np.asarray(self.high).astype(np.int64)
        exact <<= 32
        exact += np.asarray(self.low)
        return np.asarray(exact, dtype)
