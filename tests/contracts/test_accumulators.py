"""What every accumulator must hold, for every accumulator: one row each in `CONTRACTS`.

A new statistic adds a row: how to make it, and what it should give, written in plain NumPy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pwact.stats
from pwact.core.accumulator import Accumulator
from pwact.stats import by_class, extrema, firing, moments, named, on, per_channel, top_k
from pwact.types import Observation

IMAGES, BATCH, CLASSES, UNIT = 11, 4, 4, 2.0**-24
SHAPES = {"map": (2, 3, 2), "vector": (3,)}

Reference = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]


class Contract(NamedTuple):
    """`factory`: the public name it covers. `reference`: (activations, labels, indices) -> arrays.

    `tolerance`: for a result that rounds, by its name, the relative error that its docstring states.
    """

    factory: str
    make: Callable[[], Accumulator]
    reference: Reference
    tolerance: Mapping[str, float] = MappingProxyType({})


def moments_of(x, label, index):
    x = x.astype(np.float64)
    empty = np.full(x.shape[1:], np.nan)
    return {
        "count": np.asarray(len(x)),
        "mean": x.mean(0) if len(x) else empty,
        "variance": x.var(0) if len(x) else empty,
    }


def firing_of(x, label, index):
    share = (x > 0.5).mean(0) if len(x) else np.full(x.shape[1:], np.nan)
    return {"count": np.asarray(len(x)), "share": share}


def extrema_of(x, label, index):
    if not len(x):
        none, nowhere = np.full(x.shape[1:], np.nan), np.full(x.shape[1:], -1)
        return {"min": none, "min_index": nowhere, "max": none, "max_index": nowhere}
    by_index = np.argsort(index)
    x, index = x[by_index], index[by_index]
    low, high = index[x.argmin(0)], index[x.argmax(0)]
    return {"min": x.min(0), "min_index": low, "max": x.max(0), "max_index": high}


def top_3_of(x, label, index):
    channels = x.shape[-1]
    points = x.reshape(len(x), int(np.prod(x.shape[1:-1])), channels)
    result = {"value": np.full((3, channels), np.nan), "index": np.full((3, channels), -1)}
    if x.ndim == 4:
        result |= {"row": np.full((3, channels), -1), "column": np.full((3, channels), -1)}
    for channel in range(channels):
        best = [
            (-image[:, channel].max(), i, image[:, channel].argmax())
            for image, i in zip(points, index, strict=True)
        ]
        for rank, (negated, i, position) in enumerate(sorted(best)[:3]):
            result["value"][rank, channel], result["index"][rank, channel] = -negated, i
            if x.ndim == 4:
                result["row"][rank, channel], result["column"][rank, channel] = divmod(position, x.shape[2])
    return result


def for_each_class(reference: Reference) -> Reference:
    def classwise(x, label, index):
        parts = [reference(x[label == c], label[label == c], index[label == c]) for c in range(CLASSES)]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    return classwise


def pooled(reference: Reference) -> Reference:
    def poolwise(x, label, index):
        points = int(np.prod(x.shape[1:-1]))
        repeated = (np.repeat(array, points) for array in (label, index))
        return reference(x.reshape(-1, x.shape[-1]), *repeated)

    return poolwise


def both(x, label, index):
    parts = {"m": moments_of(x, label, index), "f": firing_of(x, label, index)}
    return {f"{name}.{array}": value for name, part in parts.items() for array, value in part.items()}


def doubled(x):
    return x * 2.0


CONTRACTS = {
    "moments": Contract("moments", moments, moments_of),
    "firing": Contract("firing", lambda: firing(threshold=0.5), firing_of),
    "extrema": Contract("extrema", extrema, extrema_of),
    "top_k": Contract("top_k", lambda: top_k(3), top_3_of),
    "by_class(moments)": Contract(
        "by_class", lambda: by_class(moments(), CLASSES), for_each_class(moments_of)
    ),
    "by_class(extrema)": Contract(
        "by_class", lambda: by_class(extrema(), CLASSES), for_each_class(extrema_of)
    ),
    "by_class(top_k)": Contract("by_class", lambda: by_class(top_k(3), CLASSES), for_each_class(top_3_of)),
    "per_channel(moments)": Contract("per_channel", lambda: per_channel(moments()), pooled(moments_of)),
    "per_channel(extrema)": Contract("per_channel", lambda: per_channel(extrema()), pooled(extrema_of)),
    "on(moments)": Contract("on", lambda: on(doubled, moments()), lambda x, *rest: moments_of(2 * x, *rest)),
    "named": Contract("named", lambda: named(m=moments(), f=firing(threshold=0.5)), both),
    "by_class(per_channel(firing))": Contract(
        "by_class",
        lambda: by_class(per_channel(firing(threshold=0.5)), CLASSES),
        for_each_class(pooled(firing_of)),
    ),
}

CASES = pytest.mark.parametrize(("name", "kind"), [(n, k) for n in CONTRACTS for k in SHAPES], ids=str)


@functools.cache
def compiled(name: str) -> Accumulator:
    acc = CONTRACTS[name].make()
    return Accumulator(acc.init, *map(jax.jit, (acc.update, acc.merge, acc.finalize)))


def dataset(kind: str, values: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations, labels and dataset indices; class 3 holds no image, class 2 is far from the others."""
    rng = np.random.default_rng(seed)
    shape = (IMAGES, *SHAPES[kind])
    x = {
        "normal": lambda: rng.normal(size=shape),
        "ties": lambda: rng.integers(-1, 2, shape),
        "offset": lambda: 1e6 + rng.uniform(-1, 1, shape),
        "constant": lambda: np.full(shape, 0.1),
    }[values]()
    label = rng.integers(0, 3, IMAGES).astype(np.int32)
    x[label == 2] += {"normal": 1e6, "ties": 0, "offset": -2e6, "constant": 0}[values]
    index = rng.permutation(np.arange(100, 100 + 3 * IMAGES, 3)).astype(np.int32)
    return x.astype(np.float32), label, index


@st.composite
def groupings(draw):
    """A split into padded batches with the rows somewhere in them, and an order to merge these in."""
    order = draw(st.permutations(range(IMAGES)))
    batches, start = [], 0
    while start < IMAGES:
        size = draw(st.integers(0, BATCH))
        rows = draw(st.permutations(range(BATCH)))[:size]
        batches.append(list(zip(rows, order[start : start + size], strict=False)))
        start += size
    states = draw(st.integers(1, len(batches)))
    merges = [
        draw(st.tuples(st.integers(0, left), st.integers(0, left))) for left in range(states - 1, 0, -1)
    ]
    return batches, states, merges, draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30, 0.0]))


def observation(data, batch, rubbish: float) -> Observation:
    x, label, index = data
    seen = Observation(
        np.full((BATCH, *x.shape[1:]), rubbish, np.float32),
        np.full(BATCH, -7, np.int32),
        np.zeros(BATCH, np.int32),
        np.full(BATCH, 5, np.int32),
        np.zeros(BATCH, bool),
    )
    for row, image in batch:
        seen.activation[row], seen.label[row], seen.index[row] = x[image], label[image], index[image]
        seen.valid[row] = True
    return jax.tree.map(jnp.asarray, seen)


def run(acc: Accumulator, data, grouping) -> Any:
    batches, states, merges, rubbish = grouping
    spec = jax.ShapeDtypeStruct(data[0].shape[1:], jnp.float32)
    forest = [acc.init(spec) for _ in range(states)]
    for number, batch in enumerate(batches):
        forest[number % states] = acc.update(forest[number % states], observation(data, batch, rubbish))
    for left, right in merges:
        one = forest.pop(left)
        other = forest.pop(right % len(forest))
        forest.append(acc.merge(one, other))
    return forest[0]


def check(result, expected, tolerance: Mapping[str, float] = MappingProxyType({})) -> None:
    """Counts, orders and indices exactly, a result with a tolerance to that. Means and variances to the bound
    that `moments` states, for at most 16 updates and merges of 4 rows (8 times as many where 6 positions of
    these are pooled)."""
    assert set(result) == set(expected)
    for name, value in expected.items():
        found = np.asarray(result[name].values)
        assert found.shape == value.shape and len(result[name].dims) == found.ndim, name
        what = name.rpartition(".")[2]
        if name in tolerance:
            np.testing.assert_allclose(found, value, rtol=tolerance[name], atol=0, err_msg=name)
        elif what == "mean":
            sigma = np.sqrt(expected[name.removesuffix("mean") + "variance"])
            allowed = 2 * UNIT * np.abs(value) + 40 * UNIT * sigma + 1e-30
            assert (np.isnan(found) == np.isnan(value)).all() and not (
                np.abs(found - value) > allowed
            ).any(), name
        elif what == "variance":
            np.testing.assert_allclose(found, value, rtol=40 * UNIT, atol=1e-30, err_msg=name)
        elif what == "share":
            np.testing.assert_allclose(found, value, rtol=4 * UNIT, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(found, value, err_msg=name)


@CASES
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    grouping=groupings(),
    values=st.sampled_from(["normal", "ties", "offset", "constant"]),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_split_padding_order_and_merge_tree_gives_the_reference(name, kind, grouping, values, seed):
    acc, data = compiled(name), dataset(kind, values, seed)
    result = acc.finalize(run(acc, data, grouping))
    check(result, CONTRACTS[name].reference(*data), CONTRACTS[name].tolerance)


@CASES
def test_init_is_the_identity_of_merge_bit_for_bit(name, kind):
    acc, data = compiled(name), dataset(kind, "offset", 0)
    spec = jax.ShapeDtypeStruct(SHAPES[kind], jnp.float32)
    state = acc.update(acc.init(spec), observation(data, [(0, 0), (2, 1), (3, 2)], np.nan))
    for merged in (acc.merge(acc.init(spec), state), acc.merge(state, acc.init(spec))):
        jax.tree.map(np.testing.assert_array_equal, merged, state)


@CASES
def test_padding_changes_no_bit(name, kind):
    acc, data = compiled(name), dataset(kind, "offset", 1)
    spec = jax.ShapeDtypeStruct(SHAPES[kind], jnp.float32)
    batch = [(1, 0), (2, 1)]
    clean = acc.update(acc.init(spec), observation(data, batch, 0.0))
    for rubbish in (np.nan, np.inf, -np.inf, 3e38):
        jax.tree.map(
            np.testing.assert_array_equal,
            acc.update(acc.init(spec), observation(data, batch, rubbish)),
            clean,
        )
    jax.tree.map(np.testing.assert_array_equal, acc.update(clean, observation(data, [], np.nan)), clean)


@CASES
def test_merging_two_ways_round_agrees(name, kind):
    """Exactly where no sum is rounded; means and variances to the bound of `check`."""
    acc, data = compiled(name), dataset(kind, "offset", 2)
    spec = jax.ShapeDtypeStruct(SHAPES[kind], jnp.float32)
    one = acc.update(acc.init(spec), observation(data, [(0, 0), (1, 1), (2, 2)], 0.0))
    other = acc.update(acc.init(spec), observation(data, [(0, 3), (3, 4)], 0.0))
    left, right = acc.finalize(acc.merge(one, other)), acc.finalize(acc.merge(other, one))
    check(left, {key: np.asarray(value.values) for key, value in right.items()})


@pytest.mark.parametrize("name", CONTRACTS)
def test_equal_arguments_give_the_same_object(name):
    """A sweep finds its compiled program by it."""
    assert CONTRACTS[name].make() == CONTRACTS[name].make()


@pytest.mark.parametrize("factory", pwact.stats.__all__)
def test_every_public_statistic_has_a_contract_and_says_where_it_comes_from(factory):
    complaints = contract_complaints(factory, getattr(pwact.stats, factory), CONTRACTS)
    assert not complaints, complaints


def contract_complaints(name: str, factory: Any, contracts: dict[str, Contract]) -> list[str]:
    text = inspect.getdoc(factory) or ""
    complaints = [
        f"{name}: no '{part}' in its docstring"
        for part in ("Returns:", "Raises:", "Example:")
        if part not in text
    ]
    if not ("Reference:" in text or "Source:" in text):
        complaints.append(f"{name}: its docstring names no Reference: or Source:")
    if name not in {contract.factory for contract in contracts.values()}:
        complaints.append(f"{name}: no row in CONTRACTS of tests/contracts/test_accumulators.py")
    return complaints


def test_a_statistic_without_contract_or_source_would_be_seen():
    def median():
        """The middle."""

    assert len(contract_complaints("median", median, CONTRACTS)) == 5
