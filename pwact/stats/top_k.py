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

COUNTED = 288
"""Entries of which all are compared with all."""

FOLDS = 8
"""Values that are reduced at a time."""


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
            return _insert(state, TopKState(jnp.where(per_image(seen.valid, x), x, -jnp.inf), index, ()))
        value, place = _strongest(x) if x.ndim == 4 else (x, ())
        known = seen.valid[:, None] & ~jnp.isnan(value)
        return _best(state, TopKState(jnp.where(known, value, -jnp.inf), index, place))

    def merge(left: TopKState, right: TopKState) -> TopKState:
        return _insert(left, right) if per == "point" else _best(left, right)

    def finalize(state: TopKState) -> Result:
        some = state.image != NO_INDEX
        dims = ("rank", *point_dims(state.value.ndim - 1))
        arrays = {"index": state.image, **dict(zip(("row", "column"), state.place, strict=False))}
        return {
            "value": Named(jnp.where(some, state.value, jnp.nan), dims),
            **{name: Named(jnp.where(some, array, -1), dims) for name, array in arrays.items()},
        }

    return Accumulator(init, update, merge, finalize, channelwise=True)


def _strongest(x: Float[Array, "image row column channel"]) -> tuple[Array, tuple[Array, Array]]:
    """The largest value of each image's channels, and row and column of the first such, [image, channel]."""
    images, rows, columns, channels = x.shape
    positions = rows * columns
    # Two steps, of which the first takes a few rows of values at a time: three times as fast on CPU as one.
    folds = max(number for number in range(1, FOLDS + 1) if positions % number == 0)
    folded = x.reshape(images, folds, positions // folds, channels)
    number = jnp.arange(positions, dtype=jnp.int32).reshape(1, folds, -1, 1)
    value = lax.optimization_barrier(folded.max(1)).max(1)
    first = jnp.where(folded == value[:, None, None], number, NO_INDEX).min(1)
    position = lax.optimization_barrier(first).min(1)
    return value, (position // columns, position % columns)


def _best(left: TopKState, right: TopKState) -> TopKState:
    """The best of both, best first; `left` is a state, `right` what `_insert` takes."""
    k, count = len(left.value), len(left.value) + len(right.value)
    if count > COUNTED:
        return _insert(left, right)

    def one_another(old: Array, new: Array) -> Array:
        new = per_image(new, right.value) if new.ndim == 1 else new
        return jnp.concatenate([old, jnp.where(right.value > -jnp.inf, new, NO_INDEX)])

    value = jnp.concatenate([left.value, right.value])
    image = one_another(left.image, right.image)
    places = tuple(map(one_another, left.place, right.place))
    number = per_image(jnp.arange(count, dtype=jnp.int32), value)
    # How many are ahead of each is its rank; among equals, which are nobody's, the earlier is.
    earlier = (image[:, None] == image[None]) & (number[:, None] < number[None])
    equal = (value[:, None] == value[None]) & ((image[:, None] < image[None]) | earlier)
    rank = ((value[:, None] > value[None]) | equal).sum(0, dtype=jnp.int32)
    here = rank[None] == number[:k, None]
    image, *place = (jnp.where(here, array[None], 0).max(1) for array in (image, *places))
    return TopKState(jnp.where(here, value[None], -jnp.inf).max(1), image, tuple(place))


def _insert(state: TopKState, new: TopKState) -> TopKState:
    """The best of `state` and of what is new, without comparing all with all.

    At every point the best new value that is not yet taken finds its rank, again and again, until at no
    point it would have any: soon few are.

    Args:
        state: best first.
        new: another state; or values and places [image, ...] of `image` [image], in any order, the value
            -inf where it is nobody's.
    """
    value, image = new.value, new.image
    count = len(value)
    order = jnp.argsort(image) if image.ndim == 1 else jnp.arange(count)
    place_in_order = per_image(jnp.argsort(order).astype(jnp.int32), value)

    def best_of(left: Array) -> tuple[Array, Array, Array, tuple[Array, ...]]:
        best = left.max(0)
        first = jnp.where(left == best[None], place_in_order, count).min(0)
        row = order[first]

        def at_row(array: Array) -> Array:
            found = array[row] if array.ndim == 1 else jnp.take_along_axis(array, row[None], 0)[0]
            return jnp.where(best > -jnp.inf, found, NO_INDEX)

        return first, best, at_row(image), tuple(map(at_row, new.place))

    def ahead(best: Array, found: Array, value: Array, image: Array) -> Array:
        return (best > value) | ((best == value) & (found < image))

    def enters(loop: tuple) -> Array:
        state, _, (_, best, found, _) = loop
        return ahead(best, found, state.value[-1], state.image[-1]).any()

    def enter(loop: tuple) -> tuple:
        state, left, (first, best, found, place) = loop
        here = ahead(best[None], found[None], state.value, state.image)
        before = jnp.concatenate([jnp.zeros_like(here[:1]), here[:-1]])

        def shifted(old: Array, new: Array) -> Array:
            return jnp.where(here, jnp.where(before, jnp.roll(old, 1, 0), new[None]), old)

        left = jnp.where(place_in_order == first[None], -jnp.inf, left)
        state = TopKState(
            shifted(state.value, best),
            shifted(state.image, found),
            tuple(map(shifted, state.place, place)),
        )
        return state, left, best_of(left)

    return lax.while_loop(enters, enter, (state, value, best_of(value)))[0]
