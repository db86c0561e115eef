"""How often values fall between given edges, or between edges that a first pass finds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, per_image, point_dims
from pwact.core.arguments import finite_number, whole_number
from pwact.core.backend import rows_side_by_side
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter
from pwact.core.streaming.ranks import minus
from pwact.core.streaming.tally import Tally
from pwact.errors import PwactError
from pwact.types import Observation

_TINY = np.finfo(np.float32).tiny
"""Where arithmetic flushes anything smaller to 0, the numbers go -_TINY, 0, _TINY."""

_ALL_BUT_LAST, _REST = slice(None, -1), slice(1, None)


class HistogramState(NamedTuple):
    """How many values reach each edge (the last one: exceed it). Where the edges are those of the data:
    the extremes of each point, then the edges, and whether this pass still finds them."""

    images: Counter
    reached: Tally
    low: Float[Array, "*dims"]
    high: Float[Array, "*dims"]
    edges: Float[Array, "edge ..."]
    finding: Bool[Array, ""]


def histogram(bins: int | Sequence[float] = 32, *, range: tuple[float, float] | None = None) -> Accumulator:
    """Histogram over images at every point, with NumPy's bins.

    count_b = #{i : e_b <= x_i < e_(b+1)},   the last bin: e_(B-1) <= x_i <= e_B

    Edges are given, or `bins` equal ones from `range[0]` to `range[1]`, or, where neither is said, from the
    least to the largest value of each channel, which a first pass over the data finds. All points of a
    channel share their edges, so their histograms add up and compare; those of `by_class` are each class's
    own unless they are given. As in NumPy, a channel of one value v has edges from v - 0.5 to v + 0.5.

    Counts are exact: the error is 0 against `numpy.histogram(x, edges)` for any float32 data, but that
    subnormal numbers are taken as 0 where the device does so. Edges found are within 4 ulp of the larger
    extreme of exact ones. The state takes 8 bytes an edge and point.

    Args:
        bins: how many, or the edges themselves, increasing.
        range: lowest and highest edge; only where `bins` is a number.

    Returns:
        An accumulator with results `count` [bin, ...] (int64, images), `below` and `above` [...] (int64,
        images outside the edges) and `edges`, [edge] or [edge, channel] where found (float32, activation's
        own unit). Nothing seen: counts 0, edges that were to be found NaN.

    Raises:
        PwactError: fewer than one bin, edges or a range that do not increase or are not finite, both edges
            and a range; (by `init`) the activation is not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import histogram
        >>> from pwact.types import Observation
        >>> acc = histogram((0.0, 1.0, 2.0))
        >>> x, zero = jnp.array([[0.0], [1.0], [2.0], [-1.0]]), jnp.zeros(4, jnp.int32)
        >>> seen = Observation(x, zero, zero, jnp.arange(4), jnp.ones(4, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> np.asarray(result["count"].values).tolist(), np.asarray(result["below"].values).tolist()
        ([[1], [2]], [1])

    Source: ours; the bins of numpy.histogram.
    """
    do = "write histogram(32), histogram(32, range=(0, 6)) or histogram([0, 1, 2])"
    if isinstance(bins, (Sequence, np.ndarray)) and not isinstance(bins, str):
        edges = tuple(_number("an edge", edge, do) for edge in bins)
        if range is not None:
            raise PwactError("edges, or a number of bins and a range", "edges and a range", do)
        if len(edges) < 2 or not all(a < b for a, b in itertools.pairwise(edges)):
            raise PwactError("two edges or more, each larger than the one before", repr(bins), do)
        return _histogram(len(edges) - 1, edges)
    number = whole_number("bins", bins, do)
    if range is None:
        return _histogram(number, None)
    if not isinstance(range, (Sequence, np.ndarray)) or len(range) != 2:
        raise PwactError("a range of two numbers", repr(range), do)
    low, high = (_number("a limit of range", limit, do) for limit in range)
    if not low < high:
        raise PwactError("a range whose second number is larger", repr(range), do)
    return _histogram(number, tuple(np.linspace(low, high, number + 1).tolist()))


@memoized
def _histogram(bins: int, edges: tuple[float, ...] | None) -> Accumulator:
    given = None if edges is None else _thresholds(edges)

    def init(spec: jax.ShapeDtypeStruct) -> HistogramState:
        nothing = jnp.full(spec.shape, jnp.inf, float_dtype(spec))
        reached = Tally.zeros((bins + 1, *spec.shape))
        found = jnp.full((0 if edges else bins + 1, *spec.shape[-1:]), jnp.nan, nothing.dtype)
        return HistogramState(Counter.zeros(), reached, nothing, -nothing, found, jnp.asarray(edges is None))

    def find(limits: tuple[Array, Array], seen: Observation) -> tuple[Array, Array]:
        low, high = limits
        x, valid = seen.activation.astype(low.dtype), per_image(seen.valid, seen.activation)
        return (
            jnp.minimum(low, jnp.where(valid, x, jnp.inf).min(0)),
            jnp.maximum(high, jnp.where(valid, x, -jnp.inf).max(0)),
        )

    def thresholds(state: HistogramState) -> Array:
        """What a value must reach, with as many axes as the counts."""
        if given is not None:
            return jnp.asarray(given).reshape(bins + 1, *(1,) * state.low.ndim)
        reach = jnp.concatenate([state.edges[:-1], _next_above(state.edges[-1:])])
        return reach.reshape(bins + 1, *(1,) * (state.low.ndim - reach.ndim + 1), *reach.shape[1:])

    def count(state: HistogramState, seen: Observation) -> HistogramState:
        x, reach = seen.activation.astype(state.low.dtype), thresholds(state)
        counting = seen.valid & ~state.finding
        images = counting.sum(dtype=jnp.uint32)
        state = state._replace(images=state.images.add(images))
        side = rows_side_by_side(len(x), x[0].size * x.dtype.itemsize)
        if side > 1:
            x = jnp.where(per_image(counting, x), x, jnp.nan).reshape(len(x) // side, -1)
            reach = jnp.broadcast_to(reach[:, None], (bins + 1, side, *state.low.shape)).reshape(bins + 1, -1)
            counting = counting.reshape(-1, side).any(1)

        def reaching(rows: Observation) -> Array:
            own = jnp.where(per_image(rows.valid, rows.activation), rows.activation, jnp.nan)
            return (own[None] >= reach[:, None]).sum(1, dtype=jnp.uint32)

        nothing = jnp.zeros(len(counting), jnp.int32)
        rows = Observation(x, nothing, nothing, nothing, counting)
        if side > 1:
            none = jnp.zeros(reach.shape, jnp.uint32)
            counts = in_blocks(lambda counts, rows: counts + reaching(rows))(none, rows)
            counts = counts.reshape(bins + 1, side, *state.low.shape).sum(1, dtype=jnp.uint32)
            return state._replace(reached=state.reached.add(counts, images))

        def add(reached: Tally, rows: Observation) -> Tally:
            return reached.add(reaching(rows), rows.valid.sum(dtype=jnp.uint32))

        return state._replace(reached=in_blocks(add)(state.reached, rows))

    def update(state: HistogramState, seen: Observation) -> HistogramState:
        # In a pass that finds the edges no row is counted: blocks without any are left out.
        state = count(state, seen)
        if given is not None:
            return state
        limits = state.low, state.high
        low, high = only_if(state.finding, lambda limits: in_blocks(find)(limits, seen), limits)
        return state._replace(low=low, high=high)

    def merge(left: HistogramState, right: HistogramState) -> HistogramState:
        return HistogramState(
            left.images.merge(right.images),
            left.reached.merge(right.reached),
            jnp.minimum(left.low, right.low),
            jnp.maximum(left.high, right.high),
            left.edges,
            left.finding,
        )

    def advance(state: HistogramState) -> HistogramState:
        # Kept in the state, as another program might round them otherwise.
        axes = tuple(np.arange(max(state.low.ndim - 1, 0)).tolist())
        low, high = state.low.min(axes), state.high.max(axes)
        found = jnp.where((low <= high)[None], _edges_between(low, high, bins), jnp.nan)
        return state._replace(edges=found, finding=jnp.zeros((), bool))

    def finalize(state: HistogramState) -> Result:
        reached = state.reached.counter()
        first, last = (jax.tree.map(lambda limb, at=at: limb[at], reached) for at in (0, -1))
        lower, upper = (jax.tree.map(lambda limb, of=of: limb[of], reached) for of in (_ALL_BUT_LAST, _REST))
        images = jax.tree.map(lambda limb, like: jnp.broadcast_to(limb, like.shape), state.images, first)
        dims = point_dims(first.ndim)
        return {
            "count": Named(minus(lower, upper), ("bin", *dims)),
            "below": Named(minus(images, first), dims),
            "above": Named(last, dims),
            "edges": Named(jnp.asarray(edges, state.low.dtype), ("edge",))
            if edges
            else Named(state.edges, ("edge", *dims[-1:])),
        }

    return Accumulator(
        *(init, update, merge, finalize),
        advance=advance,
        passes=1 if edges else 2,
        channelwise=True,
    )


def _number(name: str, value: Any, do: str) -> float:
    number = finite_number(name, value, do)
    if abs(number) > float(np.finfo(np.float32).max):
        raise PwactError(f"{name} that float32 can hold", repr(value), do)
    return number


def _thresholds(edges: tuple[float, ...]) -> np.ndarray:
    """The least float32, subnormals left out, that reaches each edge, and that exceeds the last."""
    exact = np.asarray(edges)
    near = exact.astype(np.float32)
    with np.errstate(over="ignore"):
        above = np.nextafter(near, np.float32(np.inf))
    up = np.where(near < exact, above, near)
    up[-1] = above[-1] if near[-1] <= exact[-1] else near[-1]
    up[(up > 0) & (up < _TINY)] = _TINY
    up[(up < 0) & (up > -_TINY)] = 0
    return up.astype(np.float32)


def _next_above(edge: Float[Array, ...]) -> Float[Array, ...]:
    """The next larger number that is not subnormal."""
    tiny = jnp.asarray(_TINY, edge.dtype)
    return jnp.where((edge >= 0) & (edge < tiny), tiny, jnp.nextafter(edge, jnp.full_like(edge, jnp.inf)))


def _edges_between(
    low: Float[Array, "*channel"], high: Float[Array, "*channel"], bins: int
) -> Float[Array, "edge ..."]:
    """Equal bins from the least to the largest value; halves, as their difference may be infinite."""
    one = low == high
    low, high = jnp.where(one, low - 0.5, low), jnp.where(one, high + 0.5, high)
    step = (jnp.arange(bins, dtype=low.dtype) / bins).reshape(bins, *(1,) * low.ndim)
    inner = 2 * (low[None] / 2 + (high / 2 - low / 2)[None] * step)
    return jnp.concatenate([jnp.minimum(inner, high[None]), high[None]])
