"""Core numbers against their definition, and what is redrawn from them."""

from __future__ import annotations

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.initializers import hcore
from pwact.initializers.hcore import means
from pwact.initializers.hypercore import core_numbers


def by_definition(incidence: np.ndarray) -> np.ndarray:
    """The largest, over all sets of nodes that hold a node, of the least degree in the set."""
    nodes = incidence.shape[1]
    best = np.zeros(nodes)
    for count in range(1, nodes + 1):
        for chosen in itertools.combinations(range(nodes), count):
            part = incidence[:, chosen]
            degrees = part[(part > 0).sum(1) >= 2].sum(0)
            best[list(chosen)] = np.maximum(best[list(chosen)], degrees.min())
    return best


def hypergraph(seed: int, edges: int = 9, nodes: int = 7, density: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 2, (edges, nodes)) * (rng.random((edges, nodes)) < density)


def graph(seed: int, nodes: int, probability: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A plain graph as a hypergraph of edges of two nodes and weight one."""
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in itertools.combinations(range(nodes), 2) if rng.random() < probability]
    incidence = np.zeros((max(len(pairs), 1), nodes))
    for place, pair in enumerate(pairs):
        incidence[place, pair] = 1
    return incidence, pairs


@pytest.mark.parametrize("seed", range(12))
def test_core_numbers_are_what_the_definition_says(seed):
    incidence = hypergraph(seed, nodes=8 if seed % 4 == 0 else 6, density=0.3 + 0.05 * seed)
    # Weights are subtracted from sums of them; 64-bit rounding.
    np.testing.assert_allclose(core_numbers(incidence), by_definition(incidence), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_of_a_plain_graph_they_are_its_core_numbers(seed):
    incidence, _ = graph(seed, 7, 0.2 + 0.1 * seed)
    np.testing.assert_array_equal(core_numbers(incidence), by_definition(incidence))


@pytest.mark.parametrize("seed", range(20))
def test_of_a_plain_graph_they_are_those_of_networkx(seed):
    networkx = pytest.importorskip("networkx")
    incidence, pairs = graph(seed, 30, 0.1 + 0.02 * seed)
    peer = networkx.Graph(pairs)
    peer.add_nodes_from(range(30))
    wanted = networkx.core_number(peer)
    np.testing.assert_array_equal(core_numbers(incidence), [wanted[node] for node in range(30)])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_nodes_and_edges_does_not_matter(seed):
    incidence, rng = hypergraph(seed, 20, 15, 0.3), np.random.default_rng(seed)
    order, edges = rng.permutation(15), rng.permutation(20)
    np.testing.assert_allclose(
        core_numbers(incidence[edges][:, order]), core_numbers(incidence)[order], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_more_weight_never_lowers_a_core_number(seed):
    incidence, rng = hypergraph(seed, 20, 15, 0.3), np.random.default_rng(seed + 50)
    before = core_numbers(incidence)
    for _ in range(20):
        more = incidence.copy()
        more[rng.integers(20), rng.integers(15)] += rng.uniform(0, 3)
        after = core_numbers(more)
        assert (after >= before - 1e-12).all()
        incidence, before = more, after


@pytest.mark.parametrize("incidence", [np.zeros((4, 3)), np.eye(3), np.ones((5, 1))])
def test_edges_of_fewer_than_two_nodes_count_for_nothing(incidence):
    assert not core_numbers(incidence).any()


def test_a_large_kernel_is_peeled_fast():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 128, 128))
    started = time.perf_counter()
    found = means(kernel)
    # Measured at 0.01 s; a peeling that touched every incidence again for every node takes far longer.
    assert time.perf_counter() - started < 5
    assert np.isfinite(found).all()


def test_means_are_shares_of_the_sign_in_which_a_filter_lies_deeper():
    kernel = np.random.default_rng(1).normal(size=(6, 5))
    kernel[:, 0], kernel[:, 1] = np.abs(kernel[:, 0]), -np.abs(kernel[:, 1])
    up, down = by_definition(np.maximum(kernel, 0)), by_definition(np.maximum(-kernel, 0))
    wanted = [u / up.sum() if u >= d else -d / down.sum() for u, d in zip(up, down, strict=True)]
    found = means(kernel.astype(np.float32))
    # The kernel is given in float32.
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found[0] > 0 > found[1]


def test_a_kernel_of_one_sign_has_no_mean_of_the_other():
    assert (means(np.ones((4, 3))) == 1 / 3).all()
    np.testing.assert_array_equal(means(np.zeros((4, 3))), 0)


def network(seed: int = 0):
    rng = np.random.default_rng(seed)
    return {
        "conv": {"kernel": jnp.float32(rng.normal(size=(3, 3, 8, 12))), "bias": jnp.ones(12)},
        "norm": {"scale": jnp.full(12, 2.0), "bias": jnp.full(12, 3.0)},
        "head": {"kernel": jnp.float32(rng.normal(size=(12, 10))), "bias": jnp.ones(10)},
    }


def test_filters_are_drawn_around_their_scaled_means():
    params = network()
    draws = [hcore(scale=3.0).draw(jax.random.key(i), params)["conv"]["kernel"] for i in range(60)]
    found = np.asarray(draws, np.float64)
    wanted = 3 * means(np.asarray(params["conv"]["kernel"]))
    # Standard error of a mean over 60 draws of 72 weights of variance 2 / 72: 0.0025; five of these.
    np.testing.assert_allclose(found.mean((0, 1, 2, 3)), wanted, atol=0.0127)
    assert np.ptp(wanted) > 0.1
    inside = found - wanted
    np.testing.assert_allclose(inside.var(), 2 / 72, rtol=5 * np.sqrt(2 / inside.size))


def test_biases_beside_redrawn_kernels_become_zero_and_norms_stay():
    params = network()
    drawn = hcore().draw(jax.random.key(0), params)
    assert not drawn["conv"]["bias"].any() and not drawn["head"]["bias"].any()
    jax.tree.map(np.testing.assert_array_equal, drawn["norm"], params["norm"])


def test_dense_leaves_convolutions_as_they_were_trained():
    params = network()
    drawn = hcore(layers="dense").draw(jax.random.key(0), params)
    jax.tree.map(np.testing.assert_array_equal, drawn["conv"], params["conv"])
    assert not drawn["head"]["bias"].any()
    assert not np.array_equal(drawn["head"]["kernel"], params["head"]["kernel"])


def test_shuffled_deals_the_same_means_and_the_same_noise_to_other_filters():
    params, key = network(), jax.random.key(3)
    plain, dealt, without = (
        hcore(**settings).draw(key, params)["conv"]["kernel"]
        for settings in ({}, {"shuffled": True}, {"scale": 0.0})
    )
    own, other = (np.asarray(kernel - without).mean((0, 1, 2)) for kernel in (plain, dealt))
    # The noise is around 0.2, so a difference has some 1e-8.
    np.testing.assert_allclose(np.sort(own), np.sort(other), atol=1e-6)
    assert np.abs(own - other).max() > 0.01
