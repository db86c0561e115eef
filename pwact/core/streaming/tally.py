"""Large arrays of exact counts that are added to in few places at a time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter
from pwact.errors import PwactError

_HALF = 2**31


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts high * 2**31 + low, of which an addition touches only `low` until that might overflow.

    A `Counter` looks for carries in all of its entries whenever something is added to it. Here one number
    tells when a carry is possible at all, so an addition to few entries leaves the others alone.

    Args:
        high: uint32.
        low: uint32, same shape.
        bound: uint32, one number that no entry of `low` exceeds.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> tally = Tally.zeros((3,)).add_at(jnp.array([0, 2, 0]), jnp.ones(3, jnp.uint32), 3)
        >>> for _ in range(40):
        ...     tally = tally.merge(tally)
        >>> np.asarray(tally.counter()).tolist()
        [2199023255552, 0, 1099511627776]
    """

    high: Any
    low: Any
    bound: Any

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Tally:
        """Counts of nothing.

        Raises:
            PwactError: more of them than an int32 can number.
        """
        if math.prod(shape) >= _HALF:
            raise PwactError(
                "fewer than 2^31 counts in the state of a statistic",
                " x ".join(map(str, shape)),
                "use per_channel(...), or ask for less",
            )
        return cls(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32), jnp.zeros((), jnp.uint32))

    def add(self, amount: UInt32[Array, ...], most: Any) -> Tally:
        """The counts after `amount` more, of the same shape, each at most `most`, which is below 2**31."""
        roomy = self._with_room(most)
        return Tally(roomy.high, roomy.low + amount, roomy.bound)

    def add_at(self, slots: Int[Array, " n"], amount: UInt32[Array, " n"], most: Any) -> Tally:
        """The counts after `amount` more at `slots` of the flattened array, all of them inside it.

        No entry may get more than `most`, which is below 2**31.
        """
        roomy = self._with_room(most)
        low = roomy.low.reshape(-1).at[slots].add(amount, mode="promise_in_bounds")
        return Tally(roomy.high, low.reshape(roomy.low.shape), roomy.bound)

    def merge(self, other: Tally) -> Tally:
        """The sum of two tallies, exactly."""
        bound = self.bound + other.bound
        fits = bound >= self.bound
        one, two = self._carried(), other._carried()
        high = jnp.where(fits, self.high + other.high, one.high + two.high)
        low = jnp.where(fits, self.low + other.low, one.low + two.low)
        return Tally(high, low, jnp.where(fits, bound, one.bound + two.bound))

    def counter(self) -> Counter:
        """The counts as a `Counter`."""
        return Counter(self.high >> 1, (self.high & 1) << 31).merge(
            Counter(jnp.zeros_like(self.low), self.low)
        )

    def _with_room(self, most: Any) -> Tally:
        most = jnp.asarray(most, jnp.uint32)
        full = self.bound + most < self.bound
        roomy = only_if(full, Tally._carried, self)
        return Tally(roomy.high, roomy.low, roomy.bound + most)

    def _carried(self) -> Tally:
        return Tally(
            self.high + (self.low >> 31),
            self.low & (_HALF - 1),
            jnp.minimum(self.bound, _HALF - 1).astype(jnp.uint32),
        )
