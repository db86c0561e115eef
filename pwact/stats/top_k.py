"""The images that activate every channel most, and where in them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from pwact.core.accumulator import NO_INDEX, Accumulator, Named, Result, float_dtype, per_image
from pwact.core.arguments import whole_number
from pwact.core.combinators import need_channels
from pwact.core.memory import memoized
from pwact.types import Observation


class TopKState(NamedTuple):
    """The best so far, best first; `NO_INDEX` where fewer than k were seen. `place`: row, column."""

    value: Float[Array, "rank channel"]
    image: Int32[Array, "rank channel"]
    place: tuple[Int32[Array, "rank channel"], ...]


@memoized
def top_k(k: int) -> Accumulator:
    """The k images with the largest activation of each channel, and the position that gave it.

    value_i = max over (row, column) of x_i;   the k largest value_i, in descending order

    An image counts once, at its most active position. Equal values are ordered by dataset index,
    equal positions in an image by row and then column, so order and grouping change nothing.

    Args:
        k: how many images, 1 or more.

    Returns:
        An accumulator with results [rank, channel]: `value` (activation's own unit), `index` (int32,
        dataset index) and, for maps, `row` and `column` (int32). Where fewer than k images were seen
        the last ranks hold value NaN and index, row and column -1.

    Raises:
        PwactError: k below 1; (by `init`) the activation is neither a map nor a vector, or not of
            floating-point numbers; (by a sweep) k larger than the dataset.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import top_k
        >>> from pwact.types import Observation
        >>> acc = top_k(2)
        >>> x, zero = jnp.array([[2.0], [5.0], [4.0]]), jnp.zeros(3, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(3), jnp.ones(3, bool)))
        >>> acc.finalize(state)["index"].values.ravel().tolist()
        [1, 2]

    Source: ours; the dataset examples of Zeiler and Fergus, "Visualizing and Understanding
        Convolutional Networks" (ECCV 2014), without their back-projection.
    """
    k = whole_number("k", k, "ask for at least one image")

    def init(spec: jax.ShapeDtypeStruct) -> TopKState:
        need_channels(spec, "top_k")
        shape = (k, spec.shape[-1])
        nowhere = jnp.full(shape, NO_INDEX, jnp.int32)
        return TopKState(
            jnp.full(shape, -jnp.inf, float_dtype(spec)), nowhere, (nowhere,) * (len(spec.shape) - 1)
        )

    def update(state: TopKState, seen: Observation) -> TopKState:
        x = seen.activation.astype(state.value.dtype)
        width, points = x.shape[-2], x.reshape(x.shape[0], -1, x.shape[-1])
        value = jnp.where(per_image(seen.valid, points), points, -jnp.inf).max(1)
        number = jnp.arange(points.shape[1], dtype=jnp.int32)[None, :, None]
        position = jnp.where(points == value[:, None], number, NO_INDEX).min(1)
        index = jnp.broadcast_to(seen.index.astype(jnp.int32)[:, None], value.shape)
        place = (position // width, position % width) if x.ndim == 4 else ()
        known = (jnp.where(seen.valid[:, None], array, NO_INDEX) for array in (index, *place))
        return merge(state, TopKState(value, next(known), tuple(known)))

    def merge(left: TopKState, right: TopKState) -> TopKState:
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), left, right)
        keys = (-both.value, both.image, *both.place)
        negated, index, *place = (key[:k] for key in lax.sort(keys, dimension=0, num_keys=len(keys)))
        return TopKState(-negated, index, tuple(place))

    def finalize(state: TopKState) -> Result:
        some = state.image != NO_INDEX
        dims = ("rank", "channel")
        arrays = {"index": state.image, **dict(zip(("row", "column"), state.place, strict=False))}
        return {
            "value": Named(jnp.where(some, state.value, jnp.nan), dims),
            **{name: Named(jnp.where(some, array, -1), dims) for name, array in arrays.items()},
        }

    return Accumulator(init, update, merge, finalize, channelwise=True)
