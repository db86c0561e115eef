"""How often a vector of class scores says what the model decides."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result, State, float_dtype
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.stats.accuracy import accuracy
from pwact.types import Observation


@memoized
def agreement() -> Accumulator:
    """The share of images at which a vector of scores, one a class, has its largest where the model decides.

    agreement = #{i : argmax_c x_ic = prediction_i} / n

    For the scores of a second head, or of a second model beside the first in one probe: choose its output
    as the site, and hand the first model's logits to the sweep with `logits=`. Of equal scores the first
    counts. `by_class(agreement(), ...)` is the agreement on each class's images.

    Returns:
        An accumulator with results `count` (int64, images) and `agreement` (0 to 1; the quotient of two
        exact counts, to 2 ulp of float32). Nothing seen: count 0, agreement NaN.

    Raises:
        PwactError: (by `init`) the activation is not a vector [class] of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import agreement
        >>> from pwact.types import Observation
        >>> acc, x = agreement(), jnp.array([[0.1, 0.9], [0.8, 0.2]])
        >>> label, prediction = jnp.array([0, 0]), jnp.array([1, 1])
        >>> seen = Observation(x, label, prediction, jnp.arange(2), jnp.ones(2, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((2,), x.dtype)), seen))
        >>> float(result["agreement"].values)
        0.5

    Source: ours; a plain frequency.
    """
    same = accuracy()

    def init(spec: jax.ShapeDtypeStruct) -> State:
        if len(spec.shape) != 1:
            raise PwactError(
                "a vector [class] of scores for agreement",
                f"an activation of shape {list(spec.shape)}",
                "choose a site of scores, such as 'output'",
            )
        float_dtype(spec)
        return same.init(spec)

    def update(state: State, seen: Observation) -> State:
        return same.update(state, seen._replace(label=seen.activation.argmax(-1).astype(jnp.int32)))

    def finalize(state: State) -> Result:
        count, share = same.finalize(state).values()
        return {"count": count, "agreement": Named(share.values, share.dims)}

    return same._replace(init=init, update=update, finalize=finalize)
