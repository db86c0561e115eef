"""What every loss, regulariser, update rule, initialiser and callback must hold: one row each in `METHODS`.

A new method adds a row in `rows`: the text that a recipe holds, and what it should give, in plain NumPy.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pwact import callbacks, initializers, objectives, regularizers, updates
from pwact.core.registry import resolve
from pwact.models import ModelConfig, build
from pwact.regularizers import Penalty

from .rooms import cases
from .rows import initializers as initializer_rows
from .rows import regularizers as regularizer_rows
from .rows import updates as update_rows

STEP = jnp.int32(3)


@functools.cache
def network_params() -> Any:
    """Of a small network with convolutions, norms and a head."""
    config = ModelConfig((8, 8, 1), 10, widths=(6, 8), strides=(1, 2), first_kernel_size=3, norm="batch")
    return nnx.state(build(config, 5), nnx.Param)


def kernels(params: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]


def vectors(params: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim < 2]


def same_kind(found: Any, wanted: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


# Losses

BATCH, CLASSES = 40, 3


@functools.cache
def outputs_and_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes 0 and 1 hold many images, class 2 one: no variance."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, BATCH).astype(np.int32)
    label[0] = 2
    return (2 * rng.normal(size=(BATCH, CLASSES)) + 3 * np.eye(3)[label]).astype(np.float32), label


@functools.cache
def slope_of(text: str) -> Any:
    return jax.jit(jax.value_and_grad(resolve(text, objectives).loss))


@cases(objectives)
def test_a_loss_gives_the_reference_and_its_gradient(row):
    z, y = outputs_and_labels(0)
    value, slope = slope_of(row.text)(z, y, jnp.ones(BATCH, bool), jnp.int32(row.step))
    assert value.shape == () and value.dtype == jnp.float32
    np.testing.assert_allclose(value, row.reference(z.astype(np.float64), y, row.step), rtol=row.relative)
    numeric = np.zeros(z.shape)
    for place in np.ndindex(*z.shape):
        shift = np.zeros(z.shape)
        shift[place] = 1e-5
        above, below = (row.reference(z + sign * shift, y, row.step) for sign in (1, -1))
        numeric[place] = (above - below) / 2e-5
    # Central differences in float64 are good to some 1e-9 of the value.
    scale = np.abs(numeric).max()
    np.testing.assert_allclose(slope, numeric, rtol=10 * row.relative, atol=10 * row.relative * scale)


@cases(objectives)
def test_padding_changes_no_bit_of_value_or_gradient(row):
    z, y = outputs_and_labels(1)
    valid = np.arange(BATCH) % 4 != 1
    step = jnp.int32(row.step)
    clean = slope_of(row.text)(np.where(valid[:, None], z, 0), y, valid, step)
    for rubbish, label in ((np.nan, -7), (np.inf, 0), (-np.inf, 2), (3e38, 99)):
        z2 = np.where(valid[:, None], z, np.float32(rubbish))
        dirty = slope_of(row.text)(z2, np.where(valid, y, label).astype(np.int32), valid, step)
        jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    assert not np.asarray(clean[1])[~valid].any()
    np.testing.assert_allclose(
        clean[0], row.reference(z[valid].astype(np.float64), y[valid], row.step), rtol=row.relative
    )


@cases(objectives)
def test_the_order_of_rows_changes_nothing_but_rounding(row):
    z, y = outputs_and_labels(2)
    valid = np.arange(BATCH) % 5 != 2
    order, step = np.random.default_rng(3).permutation(BATCH), jnp.int32(row.step)
    value, slope = slope_of(row.text)(z, y, valid, step)
    value2, slope2 = slope_of(row.text)(z[order], y[order], valid[order], step)
    np.testing.assert_allclose(value2, value, rtol=row.relative)
    np.testing.assert_allclose(slope2, slope[order], rtol=10 * row.relative, atol=1e-6)


@cases(objectives)
def test_exchanging_classes_exchanges_nothing_else(row):
    z, y = outputs_and_labels(4)
    new, step = np.array([2, 0, 1]), jnp.int32(row.step)
    valid = jnp.ones(BATCH, bool)
    value, slope = slope_of(row.text)(z, y, valid, step)
    moved = np.empty_like(z)
    moved[:, new] = z
    value2, slope2 = slope_of(row.text)(moved, new[y].astype(np.int32), valid, step)
    np.testing.assert_allclose(value2, value, rtol=row.relative)
    np.testing.assert_allclose(np.asarray(slope2)[:, new], slope, rtol=10 * row.relative, atol=1e-6)


@cases(objectives)
def test_nothing_seen_is_a_loss_of_zero_without_gradient(row):
    z, y = outputs_and_labels(0)
    value, slope = slope_of(row.text)(np.full_like(z, np.nan), y, np.zeros(BATCH, bool), jnp.int32(row.step))
    assert value == 0 and not np.asarray(slope).any()


@cases(objectives)
def test_many_networks_at_once_give_what_each_gives_alone(row):
    z, y = np.stack([outputs_and_labels(i)[0] for i in range(3)]), outputs_and_labels(0)[1]
    valid, step = jnp.ones(BATCH, bool), jnp.int32(row.step)
    many = jax.jit(jax.vmap(resolve(row.text, objectives).loss, (0, None, None, None)))(z, y, valid, step)
    alone = [slope_of(row.text)(one, y, valid, step)[0] for one in z]
    np.testing.assert_allclose(many, alone, rtol=row.relative)


# Regularisers


def effect(method: Any, params: Any) -> Any:
    """What is added to the gradient, or to the update."""
    if isinstance(method, Penalty):
        return jax.grad(method.value)(params, STEP)
    zero = jax.tree.map(jnp.zeros_like, params)
    return method.update(zero, method.init(params), params)[0]


@cases(regularizers)
def test_a_regulariser_gives_the_reference_on_kernels_and_leaves_the_rest(row):
    method, params = resolve(row.text, regularizers), network_params()
    found = jax.jit(functools.partial(effect, method))(params)
    same_kind(found, params)
    assert not any(np.asarray(leaf).any() for leaf in vectors(found))
    wanted = [row.reference(np.asarray(kernel, np.float64)) for kernel in kernels(params)]
    for one, (_, slope) in zip(kernels(found), wanted, strict=True):
        np.testing.assert_allclose(one, slope, rtol=2e-5, atol=1e-6)
    if isinstance(method, Penalty):
        value = method.value(params, STEP)
        assert value.shape == () and value.dtype == jnp.float32
        np.testing.assert_allclose(value, sum(value for value, _ in wanted), rtol=1e-5)


@cases(regularizers)
def test_a_transformation_adds_to_the_update_that_is_there(row):
    method, params = resolve(row.text, regularizers), network_params()
    if isinstance(method, Penalty):
        assert resolve(row.text, regularizers).value(params, jnp.int32(0)) == method.value(params, STEP)
        return
    found, _ = method.update(params, method.init(params), params)
    for one, own, kernel in zip(
        kernels(found), kernels(effect(method, params)), kernels(params), strict=True
    ):
        np.testing.assert_allclose(one, own + kernel, rtol=1e-6, atol=1e-6)


@cases(regularizers)
def test_kernels_of_zero_have_no_gradient_and_no_nan(row):
    params = jax.tree.map(jnp.zeros_like, network_params())
    found = effect(resolve(row.text, regularizers), params)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(found))


@cases(regularizers)
def test_a_regulariser_of_many_networks_is_that_of_each(row):
    params = network_params()
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), params)
    method = resolve(row.text, regularizers)
    many = jax.vmap(functools.partial(effect, method))(both)
    alone = effect(method, jax.tree.map(lambda leaf: 0.5 * leaf, params))
    jax.tree.map(lambda one, own: np.testing.assert_allclose(one[1], own, rtol=1e-5, atol=1e-7), many, alone)


def test_parameters_without_kernels_cost_nothing():
    for row in regularizer_rows.METHODS.values():
        method = resolve(row.text, regularizers)
        if isinstance(method, Penalty):
            assert method.value({"bias": jnp.ones(3)}, STEP) == 0


# Update rules

WIDTH = 4


@functools.cache
def quadratics() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices and centres of two batches, and parameters."""
    rng = np.random.default_rng(7)
    roots = rng.normal(size=(2, WIDTH, WIDTH))
    return (
        roots @ roots.swapaxes(1, 2) + np.eye(WIDTH),
        rng.normal(size=(2, WIDTH)),
        rng.normal(size=WIDTH),
    )


def quadratic(params: Any, batch: Any, key: Any) -> Any:
    matrix, centre = batch
    off = jnp.concatenate([params["a"], params["b"]]) - centre
    return 0.5 * off @ matrix @ off, {"key": jax.random.key_data(key), "at": params["a"]}


def update_of(row: Any, params: np.ndarray, rate: float) -> Any:
    matrices, centres, _ = quadratics()
    rule = resolve(row.text, updates)
    batches = tuple((jnp.float32(matrices[i]), jnp.float32(centres[i])) for i in range(rule.batches))
    keys = tuple(jax.random.split(jax.random.key(1), rule.batches))

    @jax.jit
    def run(params: Any, batches: Any, keys: Any, rate: Any) -> Any:
        return rule.gradient(quadratic, {"a": params[:3], "b": params[3:]}, batches, keys, rate)

    return run(jnp.float32(params), batches, keys, jnp.float32(rate)), keys


@cases(updates)
def test_an_update_rule_gives_the_reference_on_quadratics(row):
    matrices, centres, params = quadratics()
    (value, aux, slope, logs), keys = update_of(row, params, 0.05)
    wanted = row.reference(matrices, centres, params, 0.05)
    np.testing.assert_allclose(np.concatenate([slope["a"], slope["b"]]), wanted, rtol=1e-4, atol=1e-4)
    assert set(logs) == set(row.logs)
    assert all(entry.shape == () and entry.dtype == jnp.float32 for entry in logs.values())
    assert value.shape == () and np.isfinite(value)
    # What is kept is of the first batch, at the parameters themselves.
    np.testing.assert_array_equal(aux["key"], jax.random.key_data(keys[0]))
    np.testing.assert_array_equal(aux["at"], params[:3].astype(np.float32))


@cases(updates)
def test_an_update_rule_of_a_network_keeps_its_structure_under_vmap(row):
    rule, params = resolve(row.text, updates), network_params()

    def loss(params: Any, batch: Any, key: Any) -> Any:
        return sum(jnp.sum((leaf - batch) ** 2) for leaf in jax.tree.leaves(params)), None

    def run(params: Any, batch: Any, key: Any) -> Any:
        keys = tuple(jax.random.split(key, rule.batches))
        return rule.gradient(loss, params, (batch,) * rule.batches, keys, jnp.float32(0.1))

    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    keys = jax.random.split(jax.random.key(0), 2)
    _, _, slope, logs = jax.jit(jax.vmap(run))(many, jnp.array([0.5, 1.0]), keys)
    same_kind(slope, many)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((slope, logs)))


@pytest.mark.parametrize("place", range(2))
def test_each_batch_has_its_own_key(place):
    """A loss that is what its key says: changing one key changes the gradient."""
    for row in update_rows.METHODS.values():
        rule = resolve(row.text, updates)
        if place >= rule.batches:
            continue

        def loss(params: Any, batch: Any, key: Any) -> Any:
            return jnp.sum(params * jax.random.normal(key, params.shape)), None

        def slope(keys: Any, rule: Any = rule, loss: Any = loss) -> Any:
            params, batches = jnp.ones(3), (jnp.zeros(1),) * rule.batches
            return np.asarray(rule.gradient(loss, params, batches, keys, jnp.float32(0.1))[2])

        keys = [jax.random.key(i) for i in range(rule.batches)]
        other = list(keys)
        other[place] = jax.random.key(9)
        assert not np.allclose(slope(tuple(keys)), slope(tuple(other)))


# Initialisers


@cases(initializers)
def test_an_initialiser_keeps_structure_and_draws_the_same_for_the_same_key(row):
    method, params = resolve(row.text, initializers), network_params()
    before = jax.tree.map(np.array, params)
    drawn = method.draw(jax.random.key(0), params)
    same_kind(drawn, params)
    jax.tree.map(np.testing.assert_array_equal, params, before)
    jax.tree.map(np.testing.assert_array_equal, method.draw(jax.random.key(0), params), drawn)
    other = method.draw(jax.random.key(1), params)
    assert method.epochs == row.epochs
    for one, two, own in zip(kernels(drawn), kernels(other), kernels(params), strict=True):
        assert np.isfinite(one).all()
        assert (row.variance is None) == np.array_equal(one, two)
        assert (row.variance is None) == np.array_equal(one, own)


@cases(initializers)
def test_weights_have_the_variance_that_is_claimed(row):
    if row.variance is None:
        return
    shapes = {"conv": (3, 3, 24, 40), "wide": (5, 5, 4, 200), "head": (300, 20)}
    params = {
        name: {"kernel": jnp.ones(shape), "bias": jnp.zeros(shape[-1])} for name, shape in shapes.items()
    }
    drawn = resolve(row.text, initializers).draw(jax.random.key(4), params)
    for name, shape in shapes.items():
        kernel = np.asarray(drawn[name]["kernel"], np.float64)
        # Five standard errors of a Gaussian's variance, sqrt(2 / n), and of its mean.
        assert abs(kernel.var() / row.variance(shape) - 1) < 5 * np.sqrt(2 / kernel.size)
        assert abs(kernel.mean()) < 5 * np.sqrt(row.variance(shape) / kernel.size)
        assert not np.asarray(drawn[name]["bias"]).any()


def test_kernels_of_one_shape_are_drawn_apart():
    params = {"a": {"kernel": jnp.ones((4, 4))}, "b": {"kernel": jnp.ones((4, 4))}}
    for row in initializer_rows.METHODS.values():
        drawn = resolve(row.text, initializers).draw(jax.random.key(0), params)
        assert (row.variance is None) == np.array_equal(drawn["a"]["kernel"], drawn["b"]["kernel"])


# Callbacks

STEPS = 8


@cases(callbacks)
def test_a_callback_gives_the_reference_in_a_compiled_loop_over_many_networks(row):
    """Two networks of one 3x3 kernel and one bias each, which the optimizer pushes about."""
    method = resolve(row.text, callbacks)
    rng = np.random.default_rng(11)
    changes = rng.normal(size=(2, STEPS + 1, 3, 3, 2, 4)).astype(np.float32)
    bias = jnp.full((2, 4), 9.0)

    def run(changes: Any, bias: Any) -> Any:
        params = {"bias": bias, "kernel": changes[0]}

        def step(carry: Any, at: Any) -> Any:
            state, params = carry
            t, change = at
            params = params | {"kernel": params["kernel"] + change}
            state, params = method.update(state, params, t, jnp.int32(STEPS), jax.random.key(0))
            return (state, params), params

        return jax.lax.scan(step, (method.init(params), params), (jnp.arange(STEPS), changes[1:]))[1]

    found = jax.jit(jax.vmap(run))(changes, bias)
    np.testing.assert_array_equal(found["bias"], np.full((2, STEPS, 4), 9.0))
    for network in range(2):
        wanted = row.reference(changes[network].astype(np.float64))
        np.testing.assert_allclose(found["kernel"][network], wanted, rtol=1e-5, atol=1e-5)


@cases(callbacks)
def test_a_callback_keeps_the_structure_of_a_network(row):
    method, params = resolve(row.text, callbacks), network_params()
    state = method.init(params)
    new, edited = method.update(state, params, jnp.int32(2), jnp.int32(10), jax.random.key(0))
    same_kind(edited, params)
    same_kind(new, state)
    assert method.every in ("step", "epoch")
    jax.tree.map(np.testing.assert_array_equal, vectors(edited), vectors(params))
