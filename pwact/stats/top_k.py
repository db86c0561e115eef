"""The images that activate every channel, or every point, most, and where in them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32

from pwact.core.accumulator import NO_INDEX, Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import whole_number
from pwact.core.caching import memoized
from pwact.core.combinators import need_channels
from pwact.errors import PwactError
from pwact.types import Observation


class TopKState(NamedTuple):
    """The best so far, best first; `NO_INDEX` where fewer than k were seen. `place`: row, column."""

    value: Float[Array, "rank ..."]
    image: Int32[Array, "rank ..."]
    place: tuple[Int32[Array, "rank ..."], ...]


@memoized
def top_k(k: int, *, per: str = "channel") -> Accumulator:
    """The k images with the largest activation of each channel, and where in the map; or of each point.

    per channel:  value_i = max over (row, column) of x_i;   per point:  value_i = x_i
    the k largest value_i, in descending order

    Per channel an image counts once, at its most active position. Equal values are ordered by dataset
    index, equal positions in an image by row and then column, so order and grouping change nothing. No
    number is rounded: the values are the activations' own bits. `pwact.core.with_boxes` adds the pixels
    that each place sees.

    A batch is read once for every one of its images that is among the best so far of any point, which
    soon is few of them. The state holds k values and k indices a channel, or a point.

    Args:
        k: how many images, 1 or more.
        per: "channel" for the best images of each channel, "point" for those of each point.

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
    if per not in ("channel", "point"):
        raise PwactError("per as 'channel' or 'point'", repr(per), "write top_k(9, per='point')")

    def init(spec: jax.ShapeDtypeStruct) -> TopKState:
        if per == "channel":
            need_channels(spec, "top_k")
        shape = (k, *(spec.shape[-1:] if per == "channel" else spec.shape))
        nowhere = jnp.full(shape, NO_INDEX, jnp.int32)
        places = len(spec.shape) - 1 if per == "channel" else 0
        return TopKState(jnp.full(shape, -jnp.inf, float_dtype(spec)), nowhere, (nowhere,) * places)

    def update(state: TopKState, seen: Observation) -> TopKState:
        x, index = seen.activation.astype(state.value.dtype), seen.index.astype(jnp.int32)
        if per == "point":
            return _insert(state, jnp.where(per_image(seen.valid, x), x, -jnp.inf), index)
        width, points = x.shape[-2], x.reshape(x.shape[0], -1, x.shape[-1])
        value = jnp.where(per_image(seen.valid, points), points, -jnp.inf).max(1)
        number = jnp.arange(points.shape[1], dtype=jnp.int32)[None, :, None]
        position = jnp.where(points == value[:, None], number, NO_INDEX).min(1)
        place = (position // width, position % width) if x.ndim == 4 else ()
        index = jnp.broadcast_to(index[:, None], value.shape)
        known = (jnp.where(seen.valid[:, None], array, NO_INDEX) for array in (index, *place))
        return _sorted(state, TopKState(value, next(known), tuple(known)))

    def merge(left: TopKState, right: TopKState) -> TopKState:
        return _insert(left, right.value, right.image) if per == "point" else _sorted(left, right)

    def finalize(state: TopKState) -> Result:
        some = state.image != NO_INDEX
        dims = ("rank", *point_dims(state.value.ndim - 1))
        arrays = {"index": state.image, **dict(zip(("row", "column"), state.place, strict=False))}
        return {
            "value": Named(jnp.where(some, state.value, jnp.nan), dims),
            **{name: Named(jnp.where(some, array, -1), dims) for name, array in arrays.items()},
        }

    return Accumulator(init, update, merge, finalize, channelwise=True)


def _sorted(left: TopKState, right: TopKState) -> TopKState:
    """The best of both, by sorting them: quickest for as few columns as there are channels."""
    k = len(left.value)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), left, right)
    keys = (-both.value, both.image, *both.place)
    negated, index, *place = (key[:k] for key in lax.sort(keys, dimension=0, num_keys=len(keys)))
    return TopKState(-negated, index, tuple(place))


def _insert(state: TopKState, value: Array, image: Array) -> TopKState:
    """The best of `state` and of what is new, without sorting, which costs 40 times as much for many points.

    At every point the best new value that is not yet taken finds its rank, again and again, until at no
    point it would have any.

    Args:
        state: without places.
        value: [image, ...] in any order of the images; -inf is nobody's.
        image: [image], dataset indices; or as in a state, whose values come best first.
    """
    count = len(value)
    order = jnp.argsort(image) if image.ndim == 1 else jnp.arange(count)
    place_in_order = per_image(jnp.argsort(order).astype(jnp.int32), value)

    def best_of(left: Array) -> tuple[Array, Array, Array]:
        best = left.max(0)
        first = jnp.where(left == best[None], place_in_order, count).min(0)
        row = order[first]
        found = image[row] if image.ndim == 1 else jnp.take_along_axis(image, row[None], 0)[0]
        return first, best, jnp.where(best > -jnp.inf, found, NO_INDEX)

    def ahead(best: Array, found: Array, value: Array, image: Array) -> Array:
        return (best > value) | ((best == value) & (found < image))

    def enters(loop: tuple) -> Array:
        state, _, (_, best, found) = loop
        return ahead(best, found, state.value[-1], state.image[-1]).any()

    def enter(loop: tuple) -> tuple:
        state, left, (first, best, found) = loop
        here = ahead(best[None], found[None], state.value, state.image)
        before = jnp.concatenate([jnp.zeros_like(here[:1]), here[:-1]])

        def shifted(old: Array, new: Array) -> Array:
            return jnp.where(here, jnp.where(before, jnp.roll(old, 1, 0), new[None]), old)

        left = jnp.where(place_in_order == first[None], -jnp.inf, left)
        state = TopKState(shifted(state.value, best), shifted(state.image, found), ())
        return state, left, best_of(left)

    return lax.while_loop(enters, enter, (state, value, best_of(value)))[0]
