"""What every accumulator must hold, for every accumulator: one row each in `CONTRACTS`.

A new statistic adds a row in `rows`: how to make it, and what it should give, written in plain NumPy.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pwact.stats
from pwact.core.accumulator import Accumulator
from pwact.types import Observation

from .contract import Contract, Data

IMAGES, BATCH, UNIT = 11, 4, 2.0**-24
SHAPES = {"map": (2, 3, 2), "vector": (3,)}
CONTRACTS: dict[str, Contract] = {}
for path in sorted((Path(__file__).parent / "rows").glob("*.py")):
    CONTRACTS |= importlib.import_module(f".rows.{path.stem}", __package__).CONTRACTS

CASES = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, row in CONTRACTS.items() for kind in row.kinds], ids=str
)


@functools.cache
def compiled(name: str) -> Accumulator:
    acc = CONTRACTS[name].make()
    return acc._replace(
        update=jax.jit(acc.update),
        merge=jax.jit(acc.merge),
        finalize=jax.jit(acc.finalize),
        advance=jax.jit(acc.advance),
    )


@functools.lru_cache(maxsize=256)
def dataset(name: str, kind: str, values: str, seed: int) -> Data:
    """Eleven images; class 3 holds none of them, class 2 is far from the others."""
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
    x = x.astype(np.float32)
    index = rng.permutation(np.arange(100, 100 + 3 * IMAGES, 3)).astype(np.int32)
    logits = rng.normal(size=(IMAGES, 3)).astype(np.float32)
    gradient = rng.normal(size=shape).astype(np.float32)
    mask = rng.random((IMAGES, 4, 6)) < 0.4
    if CONTRACTS[name].make().pairwise:
        x = (x, np.concatenate([x * x - x, np.zeros((*shape[:-1], 1), np.float32)], -1))
    return Data(x, label, index, logits.argmax(-1).astype(np.int32), logits, gradient, mask)


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


def observation(data: Data, batch, rubbish: float) -> Observation:
    def rows(array: np.ndarray, filler: Any) -> jax.Array:
        filled = np.full((BATCH, *array.shape[1:]), filler, array.dtype)
        for row, image in batch:
            filled[row] = array[image]
        return jnp.asarray(filled)

    valid = np.zeros(BATCH, bool)
    valid[[row for row, _ in batch]] = True
    return Observation(
        jax.tree.map(lambda array: rows(array, rubbish), data.x),
        label=rows(data.label, -7),
        prediction=rows(data.prediction, 0),
        index=rows(data.index, 5),
        valid=jnp.asarray(valid),
        logits=rows(data.logits, rubbish),
        gradient=rows(data.gradient, rubbish),
        mask=rows(data.mask, True),
    )


def spec_of(data: Data) -> Any:
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape[1:], array.dtype), data.x)


def run(acc: Accumulator, data: Data, grouping) -> Any:
    batches, states, merges, rubbish = grouping
    start = acc.init(spec_of(data))
    for done in range(1, acc.passes + 1):
        forest = [start for _ in range(states)]
        for number, batch in enumerate(batches):
            forest[number % states] = acc.update(forest[number % states], observation(data, batch, rubbish))
        for left, right in merges:
            one = forest.pop(left)
            other = forest.pop(right % len(forest))
            forest.append(acc.merge(one, other))
        start = acc.advance(forest[0]) if done < acc.passes else forest[0]
    return start


def check(row: Contract, result, expected) -> None:
    """Counts, orders and indices exactly, a result with a tolerance to that. Means and variances to the bound
    that `moments` states, for at most 16 updates and merges of 4 rows (8 times as many where 6 positions of
    these are pooled)."""
    assert set(result) == set(expected)
    for name, value in expected.items():
        found = np.asarray(result[name].values)
        assert found.shape == value.shape and len(result[name].dims) == found.ndim, name
        what = name.rpartition(".")[2]
        if name in row.tolerance or name in row.absolute:
            relative, absolute = row.tolerance.get(name, 0), row.absolute.get(name, 0)
            np.testing.assert_allclose(found, value, rtol=relative, atol=absolute, err_msg=name)
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
@given(grouping=groupings(), values=st.data(), seed=st.integers(0, 2**31 - 1))
def test_any_split_padding_order_and_merge_tree_gives_the_reference(name, kind, grouping, values, seed):
    acc, row = compiled(name), CONTRACTS[name]
    data = dataset(name, kind, values.draw(st.sampled_from(row.values)), seed)
    check(row, acc.finalize(run(acc, data, grouping)), row.reference(data))


@CASES
def test_init_is_the_identity_of_merge_bit_for_bit(name, kind):
    acc, data = compiled(name), dataset(name, kind, CONTRACTS[name].values[0], 0)
    start = acc.init(spec_of(data))
    state = acc.update(start, observation(data, [(0, 0), (2, 1), (3, 2)], np.nan))
    for merged in (acc.merge(start, state), acc.merge(state, start)):
        jax.tree.map(np.testing.assert_array_equal, merged, state)


@CASES
def test_what_a_further_pass_begins_with_is_its_identity_of_merge(name, kind):
    acc, data = compiled(name), dataset(name, kind, CONTRACTS[name].values[0], 3)
    state = acc.init(spec_of(data))
    for _ in range(1, acc.passes):
        start = acc.advance(acc.update(state, observation(data, [(0, 0), (2, 1), (3, 2)], np.nan)))
        state = acc.update(start, observation(data, [(1, 0), (2, 2)], np.nan))
        for merged in (acc.merge(start, state), acc.merge(state, start)):
            jax.tree.map(np.testing.assert_array_equal, merged, state)


@CASES
def test_padding_changes_no_bit(name, kind):
    acc, data = compiled(name), dataset(name, kind, CONTRACTS[name].values[-1], 1)
    start, batch = acc.init(spec_of(data)), [(1, 0), (2, 1)]
    for _ in range(acc.passes):
        clean = acc.update(start, observation(data, batch, 0.0))
        for rubbish in (np.nan, np.inf, -np.inf, 3e38):
            dirty = acc.update(start, observation(data, batch, rubbish))
            jax.tree.map(np.testing.assert_array_equal, dirty, clean)
        untouched = acc.update(clean, observation(data, [], np.nan))
        jax.tree.map(np.testing.assert_array_equal, untouched, clean)
        start = acc.advance(clean)


@CASES
def test_merging_two_ways_round_agrees(name, kind):
    """Exactly where no sum is rounded; means and variances to the bound of `check`."""
    acc, row = compiled(name), CONTRACTS[name]
    data = dataset(name, kind, row.values[0], 2)
    start = acc.init(spec_of(data))
    for _ in range(acc.passes):
        one = acc.update(start, observation(data, [(0, 0), (1, 1), (2, 2)], 0.0))
        other = acc.update(start, observation(data, [(0, 3), (3, 4)], 0.0))
        merged = acc.merge(one, other)
        start = acc.advance(merged)
    left, right = acc.finalize(merged), acc.finalize(acc.merge(other, one))
    check(row, left, {key: np.asarray(value.values) for key, value in right.items()})


@CASES
def test_channels_that_are_said_to_be_on_their_own_are(name, kind):
    acc, data = compiled(name), dataset(name, kind, CONTRACTS[name].values[0], 4)
    if not acc.channelwise:
        return
    whole, part = spec_of(data), jax.ShapeDtypeStruct((*data.x.shape[1:-1], 1), data.x.dtype)
    seen = observation(data, [(0, 0), (1, 1), (3, 2)], np.nan)
    last = seen._replace(activation=seen.activation[..., -1:], gradient=seen.gradient[..., -1:])
    all_channels, one_channel = acc.init(whole), acc.init(part)
    for _ in range(acc.passes):
        state, own = acc.update(all_channels, seen), acc.update(one_channel, last)
        # A sum over images of one channel may be taken in another order than one of several.
        jax.tree.map(
            lambda leaf, own: np.testing.assert_allclose(
                leaf if leaf.shape == own.shape else leaf[..., -1:], own, rtol=16 * UNIT, atol=1e-6
            ),
            state,
            own,
        )
        all_channels, one_channel = acc.advance(state), acc.advance(own)


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
        complaints.append(f"{name}: no row in tests/contracts/rows")
    return complaints


def test_a_statistic_without_contract_or_source_would_be_seen():
    def median():
        """The middle."""

    assert len(contract_complaints("median", median, CONTRACTS)) == 5
