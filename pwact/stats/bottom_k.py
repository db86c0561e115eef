"""The images that activate every channel, or every point, least, and where in them."""

from __future__ import annotations

from pwact.core.accumulator import Accumulator, Named, Result
from pwact.core.caching import memoized
from pwact.stats.top_k import TopKState, top_k
from pwact.types import Observation


@memoized
def bottom_k(k: int, *, per: str = "channel") -> Accumulator:
    """The k images with the smallest activation of each channel, and where in the map; or of each point.

    per channel:  value_i = min over (row, column) of x_i;   per point:  value_i = x_i
    the k smallest value_i, in ascending order

    It is `top_k` of -x. Equal values are ordered by dataset index, equal positions in an image by row and
    then column. No number is rounded. After a ReLU most ranks hold zeros: look before it.

    Args:
        k: how many images, 1 or more.
        per: "channel" for the least active images of each channel, "point" for those of each point.

    Returns:
        An accumulator with results [rank, channel], or [rank, ...] with the dimensions of a point: `value`
        (activation's own unit), `index` (int32, dataset index) and, for maps per channel, `row` and
        `column` (int32). Where fewer than k images were seen the last ranks hold value NaN and index, row
        and column -1.

    Raises:
        PwactError: k below 1, another `per`; (by `init`) the activation is not of floating-point numbers, or
            per channel neither a map nor a vector; (by a sweep) k larger than the dataset.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import bottom_k
        >>> from pwact.types import Observation
        >>> acc = bottom_k(2)
        >>> x, zero = jnp.array([[2.0], [5.0], [4.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool)))
        >>> acc.finalize(state)["value"].values.ravel().tolist()
        [2.0, 4.0]

    Source: ours; a plain order statistic.
    """
    top = top_k(k, per=per)

    def update(state: TopKState, seen: Observation) -> TopKState:
        return top.update(state, seen._replace(activation=-seen.activation))

    def finalize(state: TopKState) -> Result:
        result = top.finalize(state)
        value = result["value"]
        return result | {"value": Named(-value.values, value.dims)}

    return top._replace(update=update, finalize=finalize)
