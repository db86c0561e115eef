"""How often the model decides for the label."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.types import Observation


class AccuracyState(NamedTuple):
    """Images seen, and those whose prediction is their label."""

    images: Counter
    correct: Counter


@memoized
def accuracy() -> Accumulator:
    """The share of images whose prediction is their label.

    accuracy = #{i : prediction_i = label_i} / n

    The activation is not looked at: a sweep gives the same at every site. `by_class(accuracy(), ...)` is
    the recall of each class.

    Returns:
        An accumulator with results `count` (int64, images) and `accuracy` (0 to 1; the quotient of two
        exact counts, to 2 ulp of float32). Nothing seen: count 0, accuracy NaN.

    Raises:
        PwactError: none of its own.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import accuracy
        >>> from pwact.types import Observation
        >>> acc, x = accuracy(), jnp.zeros((4, 1))
        >>> label, prediction = jnp.array([0, 1, 1, 2]), jnp.array([0, 1, 2, 2])
        >>> seen = Observation(x, label, prediction, jnp.arange(4), jnp.ones(4, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> float(result["accuracy"].values)
        0.75

    Source: ours; a plain frequency.
    """

    def init(spec: jax.ShapeDtypeStruct) -> AccuracyState:
        return AccuracyState(Counter.zeros(), Counter.zeros())

    def update(state: AccuracyState, seen: Observation) -> AccuracyState:
        correct = seen.valid & (seen.prediction == seen.label)
        return AccuracyState(
            state.images.add(seen.valid.sum(dtype=jnp.uint32)),
            state.correct.add(correct.sum(dtype=jnp.uint32)),
        )

    def merge(left: AccuracyState, right: AccuracyState) -> AccuracyState:
        return AccuracyState(left.images.merge(right.images), left.correct.merge(right.correct))

    def finalize(state: AccuracyState) -> Result:
        n = state.images.to_float()
        share = state.correct.to_float() / jnp.maximum(n, 1)
        return {"count": Named(state.images, ()), "accuracy": Named(jnp.where(n > 0, share, jnp.nan), ())}

    return Accumulator(init, update, merge, finalize)
