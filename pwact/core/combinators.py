"""New accumulators from old ones. Public as `pwact.stats.by_class` and so on.

Equal arguments give the same object, so that a sweep written with it again finds its compiled program.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pwact.core import arguments
from pwact.core.accumulator import Accumulator, Result, State
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import any_not_finite
from pwact.core.streaming.conditional import only_if
from pwact.errors import PwactError
from pwact.types import Observation


@memoized
def by_class(acc: Accumulator, num_classes: int) -> Accumulator:
    """The statistic of each class's images: dimension `class` in front of every result.

    result[c] = acc of {x_i : label_i = c}

    A class without images gives what `acc` gives of nothing: count 0, mean NaN. An image whose label
    is in no class is in no result; a sweep refuses such labels. A batch costs as many updates of
    `acc` as it holds classes, which is why a sweep sorts each load by label.

    Args:
        acc: the statistic of one class.
        num_classes: classes are 0 .. num_classes - 1.

    Returns:
        An accumulator whose state is `num_classes` times that of `acc`.

    Raises:
        PwactError: fewer than one class, or `acc` is no accumulator; (by `init`) its results have classes
            already.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import by_class, moments
        >>> from pwact.types import Observation
        >>> acc = by_class(moments(), num_classes=3)
        >>> x = jnp.array([[1.0], [3.0], [10.0]])
        >>> label, index = jnp.array([0, 0, 2]), jnp.arange(3)
        >>> seen = Observation(x, label, label, index, jnp.ones(3, bool))
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> mean = acc.finalize(state)["mean"]
        >>> mean.dims, mean.values[:, 0].tolist()
        (('class', 'channel'), [2.0, nan, 10.0])

    Source: ours; the mean of a class with no images is stated as NaN, as xarray does for empty groups.
    """
    arguments.accumulator("by_class", acc)
    num_classes = arguments.whole_number("num_classes", num_classes, "give the dataset's num_classes")

    def init(spec: Any) -> State:
        own = acc.init(spec)
        results = jax.eval_shape(acc.finalize, own)
        if any("class" in value.dims for value in results.values()):
            raise PwactError(
                "a statistic without a dimension 'class' for by_class",
                f"one whose results have it: {', '.join(results)}",
                "use it as it is",
            )
        return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num_classes, axis=0), own)

    def update(state: State, seen: Observation) -> State:
        inside = seen.valid & (seen.label >= 0) & (seen.label < num_classes)
        present = (
            jnp.zeros(num_classes, bool).at[jnp.where(inside, seen.label, num_classes)].set(True, mode="drop")
        )
        classes = jnp.argsort(~present, stable=True).astype(jnp.int32)

        def one_class(position: Array, state: State) -> State:
            chosen = classes[position]
            own = jax.tree.map(lambda leaf: leaf[chosen], state)
            own = acc.update(own, seen._replace(valid=inside & (seen.label == chosen)))
            return jax.tree.map(lambda leaf, new: leaf.at[chosen].set(new), state, own)

        return lax.fori_loop(0, present.sum(dtype=jnp.int32), one_class, state)

    def finalize(state: State) -> Result:
        return {
            name: dataclasses.replace(value, dims=("class", *value.dims))
            for name, value in jax.vmap(acc.finalize)(state).items()
        }

    return acc._replace(
        init=init,
        update=update,
        merge=jax.vmap(acc.merge),
        finalize=finalize,
        advance=jax.vmap(acc.advance),
    )


@memoized
def per_channel(acc: Accumulator) -> Accumulator:
    """The statistic of each channel over images and positions: every point is a sample.

    {x_irc} for image i, row r, column c is what `acc` sees of a channel; a count is of points.

    Args:
        acc: the statistic; it is shown an activation [sample, channel].

    Returns:
        An accumulator for maps [row, column, channel] and vectors [channel].

    Raises:
        PwactError: `acc` is of two sites; (by `init`) the activation is neither a map nor a vector.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import moments, per_channel
        >>> from pwact.types import Observation
        >>> acc = per_channel(moments())
        >>> x = jnp.arange(8.0).reshape(1, 2, 2, 2)
        >>> zero = jnp.zeros(1, jnp.int32)
        >>> seen = Observation(x, zero, zero, zero, jnp.ones(1, bool))
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((2, 2, 2), x.dtype)), seen)
        >>> acc.finalize(state)["mean"].values.tolist()
        [3.0, 4.0]

    Source: ours.
    """

    _of_one_site("per_channel", acc)

    def init(spec: jax.ShapeDtypeStruct) -> State:
        need_channels(spec, "per_channel")
        return acc.init(jax.ShapeDtypeStruct(spec.shape[-1:], spec.dtype))

    def update(state: State, seen: Observation) -> State:
        channels = seen.activation.shape[-1]
        points = seen.activation[0].size // channels
        label, prediction, index, valid = (
            jnp.repeat(array, points) for array in (seen.label, seen.prediction, seen.index, seen.valid)
        )
        gradient = None if seen.gradient is None else seen.gradient.reshape(-1, channels)
        samples = seen.activation.reshape(-1, channels)
        return acc.update(state, Observation(samples, label, prediction, index, valid, gradient=gradient))

    return acc._replace(init=init, update=update)


@memoized
def on(fn: Callable[[Float[Array, "batch ..."]], Float[Array, "batch ..."]], acc: Accumulator) -> Accumulator:
    """The statistic of fn(activation).

    result = acc of {fn(x_i)}

    Args:
        fn: activation [batch, ...] -> [batch, ...], each image on its own.
        acc: the statistic of what `fn` returns.

    Returns:
        An accumulator for whatever activation `fn` takes. Where `fn` made a NaN or an infinity of some
        image, every result that is a float is infinite, and a sweep raises.

    Raises:
        PwactError: `fn` is no function, or `acc` is of two sites; (by `init`) the batch axis is lost.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import moments, on
        >>> from pwact.types import Observation
        >>> acc = on(jnp.square, moments())
        >>> x, zero = jnp.array([[-3.0], [1.0]]), jnp.zeros(2, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((1,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(2), jnp.ones(2, bool)))
        >>> acc.finalize(state)["mean"].values.tolist()
        [5.0]

    Source: ours.
    """

    _of_one_site("on", acc)
    if not callable(fn):
        raise PwactError("a function of the activation for on", repr(fn), "write on(fn, moments())")

    def init(spec: jax.ShapeDtypeStruct) -> State:
        two, three = (
            jax.eval_shape(fn, jax.ShapeDtypeStruct((batch, *spec.shape), spec.dtype)) for batch in (2, 3)
        )
        kept = hasattr(two, "shape") and (two.shape[:1], three.shape) == ((2,), (3, *two.shape[1:]))
        if not kept:
            raise PwactError(
                "a function that returns one array and keeps the batch axis in front",
                f"{jax.tree.map(lambda leaf: leaf.shape, two)} from a batch of 2",
                "write fn for [batch, ...] and leave the first axis alone",
            )
        return acc.init(jax.ShapeDtypeStruct(two.shape[1:], two.dtype)), jnp.zeros((), bool)

    def update(state: State, seen: Observation) -> State:
        own, broken = state
        value = fn(seen.activation)
        own = acc.update(own, seen._replace(activation=value, gradient=None))
        return own, broken | any_not_finite(value, seen.valid)

    def merge(left: State, right: State) -> State:
        return acc.merge(left[0], right[0]), left[1] | right[1]

    def finalize(state: State) -> Result:
        own, broken = state
        return {
            name: dataclasses.replace(value, values=jnp.where(broken, jnp.inf, value.values))
            if jnp.issubdtype(getattr(value.values, "dtype", jnp.int32), jnp.floating)
            else value
            for name, value in acc.finalize(own).items()
        }

    return acc._replace(
        init=init,
        update=update,
        merge=merge,
        finalize=finalize,
        advance=lambda state: (acc.advance(state[0]), state[1]),
        channelwise=False,
    )


def named(**accs: Accumulator) -> Accumulator:
    """Several statistics of the same activation, as one; results are called `name.array`.

    result["a.mean"] = (a's result)["mean"]

    Args:
        **accs: the statistics by name.

    Returns:
        An accumulator whose state holds all of theirs.

    Raises:
        PwactError: no statistic, or some of one site with some of pairs.

    Example:
        >>> import jax
        >>> from pwact.stats import moments, named, on
        >>> acc = named(own=moments(), positive=on(jax.nn.relu, moments()))
        >>> sorted(acc.finalize(acc.init(jax.ShapeDtypeStruct((1,), "float32"))))
        ['own.count', 'own.mean', 'own.variance', 'positive.count', 'positive.mean', 'positive.variance']

    Source: ours.
    """
    if not accs:
        raise PwactError("one statistic or more", "none", "give at least one, e.g. moments=moments()")
    for name, acc in accs.items():
        arguments.accumulator(f"named({name}=...)", acc)
    if len({acc.pairwise for acc in accs.values()}) > 1:
        raise PwactError(
            "statistics of one site, or of pairs of sites",
            f"both among {sorted(accs)}",
            "name them apart: a sweep takes any number of statistics",
        )
    return _named(tuple(accs.items()))


@functools.cache
def _named(items: tuple[tuple[str, Accumulator], ...]) -> Accumulator:
    accs = dict(items)
    passes = max(acc.passes for acc in accs.values())

    def init(spec: Any) -> State:
        return jnp.zeros((), jnp.int32), {name: acc.init(spec) for name, acc in accs.items()}

    def update(state: State, seen: Observation) -> State:
        done, own = state
        return done, {
            name: acc.update(own[name], seen)
            if acc.passes == passes
            else only_if(done < acc.passes, functools.partial(_updated, acc, seen), own[name])
            for name, acc in accs.items()
        }

    def merge(left: State, right: State) -> State:
        done = jnp.maximum(left[0], right[0])
        # The state of a pass that was read to its end is the same everywhere: there is nothing to add.
        return done, {
            name: acc.merge(left[1][name], right[1][name])
            if acc.passes == passes
            else jax.tree.map(
                functools.partial(jnp.where, done < acc.passes),
                acc.merge(left[1][name], right[1][name]),
                _later(left, right, name),
            )
            for name, acc in accs.items()
        }

    def advance(state: State) -> State:
        done, own = state
        return done + 1, {
            name: jax.tree.map(
                functools.partial(jnp.where, done + 1 < acc.passes), acc.advance(own[name]), own[name]
            )
            for name, acc in accs.items()
        }

    def finalize(state: State) -> Result:
        return {
            f"{name}.{array}": value
            for name, acc in accs.items()
            for array, value in acc.finalize(state[1][name]).items()
        }

    some = next(iter(accs.values()))
    return Accumulator(
        *(init, update, merge, finalize, advance, passes, some.pairwise),
        channelwise=all(acc.channelwise for acc in accs.values()),
    )


def _of_one_site(who: str, acc: Any) -> None:
    if arguments.accumulator(who, acc).pairwise:
        raise PwactError(f"a statistic of one site for {who}", "one of two sites", "use it as it is")


def _updated(acc: Accumulator, seen: Observation, state: State) -> State:
    return acc.update(state, seen)


def _later(left: State, right: State, name: str) -> State:
    """The state of whichever side has begun the later pass."""
    newer = left[0] >= right[0]
    return jax.tree.map(lambda one, other: jnp.where(newer, one, other), left[1][name], right[1][name])


def need_channels(spec: jax.ShapeDtypeStruct, who: str) -> None:
    """Refuse an activation that is neither a map nor a vector."""
    if len(spec.shape) not in (1, 3):
        raise PwactError(
            f"an activation map [row, column, channel] or a vector [channel] for {who}",
            f"an activation of shape {list(spec.shape)}",
            "choose a site that is a map, or reshape with on(fn, ...)",
        )
