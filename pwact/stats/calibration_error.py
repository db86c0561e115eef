"""Whether the model is right as often as it is sure."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from pwact.core.accumulator import Accumulator, Named, Result
from pwact.core.arguments import whole_number
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.errors import PwactError
from pwact.types import Observation

STEPS = 2**24
"""A confidence is summed in steps of 1 / STEPS, as a whole number."""


class CalibrationState(NamedTuple):
    """Of each bin of confidence: images, those decided rightly, and the sum of confidences in steps."""

    images: Counter
    correct: Counter
    confidence: Counter


@memoized
def calibration_error(*, bins: int = 15) -> Accumulator:
    """Expected and maximum calibration error: how far accuracy is from confidence.

    confidence_i = max_c softmax(logits_i)_c;   bin b holds confidences in (b / bins, (b + 1) / bins]
    ece = sum_b n_b / n |accuracy_b - confidence_b|,   mce = max_b |accuracy_b - confidence_b|

    A sum of confidences is exact: each is rounded to a multiple of 2^-24 (its own error in float32 where it
    is a half or more) and counted. So order and grouping change no bit, and with u = 2^-24 and K logits
    ece, mce and confidence_b are within (K + 16) u of their values in exact arithmetic, if no confidence is
    closer than that to the edge of a bin: such a one may fall on its other side.

    The activation is not looked at: a sweep gives the same at every site.

    Args:
        bins: of equal width, between 0 and 1.

    Returns:
        An accumulator with results `count` [bin] (int64, images), `confidence` and `accuracy` [bin] (means in
        the bin; NaN where it is empty), `ece` and `mce` (0 to 1; NaN of nothing).

    Raises:
        PwactError: fewer than one bin; (by `update`) no logits in the observation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import calibration_error
        >>> from pwact.types import Observation
        >>> acc, x = calibration_error(bins=2), jnp.zeros((2, 1))
        >>> label, prediction = jnp.array([0, 1]), jnp.array([0, 0])
        >>> logits = jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25]]))
        >>> seen = Observation(x, label, prediction, label, jnp.ones(2, bool), logits=logits)
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> round(float(result["ece"].values), 6)  # sure of 3 in 4, right in 1 of 2
        0.25

    Reference: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (ICML 2017).
        Reconstructed from the formulas.
    """
    bins = whole_number("bins", bins, "ask for at least one bin")

    def init(spec: jax.ShapeDtypeStruct) -> CalibrationState:
        return CalibrationState(*(Counter.zeros((bins,)) for _ in range(3)))

    def update(state: CalibrationState, seen: Observation) -> CalibrationState:
        if seen.logits is None:
            raise PwactError(
                "logits in the observation for calibration_error",
                "none",
                "give Observation logits; per_channel(), which shows points, hands on none",
            )
        logits = jnp.where(seen.valid[:, None], seen.logits.astype(jnp.float32), 0)
        confidence = jax.nn.softmax(logits).max(-1)
        number = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
        inside = (number[:, None] == jnp.arange(bins)[None]) & seen.valid[:, None]
        steps = jnp.round(confidence * STEPS).astype(jnp.uint32)
        correct = inside & (seen.prediction == seen.label)[:, None]
        return CalibrationState(
            state.images.add(inside.sum(0, dtype=jnp.uint32)),
            state.correct.add(correct.sum(0, dtype=jnp.uint32)),
            state.confidence.merge(_total(steps, inside)),
        )

    def merge(left: CalibrationState, right: CalibrationState) -> CalibrationState:
        return CalibrationState(*(one.merge(other) for one, other in zip(left, right, strict=True)))

    def finalize(state: CalibrationState) -> Result:
        n = state.images.to_float()
        some, images = n > 0, jnp.maximum(n, 1)
        confidence = state.confidence.to_float() / STEPS / images
        right = state.correct.to_float() / images
        gap = jnp.where(some, jnp.abs(right - confidence), 0)
        total = n.sum()
        ece, mce = (gap * (n / jnp.maximum(total, 1))).sum(), gap.max()
        return {
            "count": Named(state.images, ("bin",)),
            "confidence": Named(jnp.where(some, confidence, jnp.nan), ("bin",)),
            "accuracy": Named(jnp.where(some, right, jnp.nan), ("bin",)),
            "ece": Named(jnp.where(total > 0, ece, jnp.nan), ()),
            "mce": Named(jnp.where(total > 0, mce, jnp.nan), ()),
        }

    return Accumulator(init, update, merge, finalize)


def _total(steps: UInt32[Array, " batch"], inside: Bool[Array, "batch bin"]) -> Counter:
    """The sum of the steps in each bin, of up to 2^19 images: in two halves, which cannot overflow."""
    low, high = (
        jnp.where(inside, half[:, None], 0).sum(0, dtype=jnp.uint32)
        for half in (steps & jnp.uint32(0xFFF), steps >> 12)
    )
    return Counter(high >> 20, high << 12).add(low)
