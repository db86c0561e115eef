"""What every norm, layer, activation and edit must hold: one row each in `METHODS`.

A new method adds a row in `rows`: the text that a configuration holds, and what it should give, in NumPy.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pwact
from pwact import edits
from pwact.core.registry import resolve
from pwact.models import ModelConfig, build
from pwact.nn import activations, layers, norms

from .rooms import ROOMS, cases

CHANNELS = 12


# Norms


@functools.cache
def skewed() -> np.ndarray:
    """Channels of several means, spreads and skewnesses: all have a root in the range that is searched."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 6, 5, CHANNELS))
    shape = np.linspace(-0.6, 0.6, CHANNELS)
    x = np.where(np.abs(shape) > 0.01, np.expm1(shape * x) / shape, x)
    return (x * np.geomspace(0.5, 5, CHANNELS) + rng.normal(size=CHANNELS)).astype(np.float32)


def module_of(row: Any, train: bool = True) -> Any:
    module = resolve(row.text, norms).layer(CHANNELS, nnx.Rngs(0))
    module.train() if train else module.eval()
    return module


@functools.cache
def run_norm(text: str, train: bool) -> Any:
    """Jitted (state, x) -> (y, state)."""
    module = resolve(text, norms).layer(CHANNELS, nnx.Rngs(0))
    module.train() if train else module.eval()
    graph = nnx.graphdef(module)

    @jax.jit
    def run(state: Any, x: Any) -> Any:
        module = nnx.merge(graph, state, copy=True)
        return module(x), nnx.state(module)

    return run


@cases(norms)
def test_a_norm_says_which_parts_it_has(row):
    norm = resolve(row.text, norms)
    assert (norm.layer is None) == (row.layer is None)
    assert (norm.kernel is None) == (row.kernel is None)
    assert norm.bias == row.bias


@cases(norms)
def test_a_norm_gives_the_reference_and_keeps_shape_and_type(row):
    if row.layer is None:
        return
    y, _ = run_norm(row.text, True)(nnx.state(module_of(row)), skewed())
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, row.layer(skewed().astype(np.float64)), atol=row.absolute * np.abs(y).max())


@cases(norms)
def test_scale_and_bias_are_learnt_by_channel(row):
    if row.layer is None:
        return
    state = nnx.state(module_of(row))
    y, _ = run_norm(row.text, True)(state, skewed())
    last = state["layers"][1] if "layers" in state else state
    last["scale"][...] = 2.0 * last["scale"][...]
    last["bias"][...] = jnp.arange(CHANNELS, dtype=jnp.float32)
    changed, _ = run_norm(row.text, True)(state, skewed())
    np.testing.assert_allclose(changed, 2 * np.asarray(y) + np.arange(CHANNELS), atol=1e-5)


@cases(norms)
def test_what_else_is_in_the_batch_matters_only_where_it_is_said(row):
    """In training as the row says, in evaluation never."""
    if row.layer is None:
        return
    for train in (True, False):
        state = nnx.state(module_of(row, train))
        run = run_norm(row.text, train)
        whole = run(state, skewed())[0][:2]
        other = run(state, np.concatenate([skewed()[:2], 3 * skewed()[2:] + 1]))[0][:2]
        same = np.allclose(whole, other, atol=1e-6)
        assert same == (row.alone or not train)


@cases(norms)
def test_running_moments_become_those_of_the_data(row):
    """After enough equal batches evaluation gives what training gave, and changes no variable."""
    if row.layer is None:
        return
    state, run = nnx.state(module_of(row)), run_norm(row.text, True)
    for _ in range(150):  # 0.9^150 = 1e-7
        y, state = run(state, skewed())
    evaluated, after = run_norm(row.text, False)(state, skewed())
    # flax's own variance, E x^2 - (E x)^2, differs by rounding alone between the two programs.
    np.testing.assert_allclose(evaluated, y, atol=5e-5)
    jax.tree.map(np.testing.assert_array_equal, after, state)


@cases(norms)
def test_a_kernel_gives_the_reference(row):
    if row.kernel is None:
        return
    for shape in ((3, 3, 4, 6), (5, 5, 1, 6), (20, 6)):
        kernel = np.random.default_rng(1).normal(0.3, 0.5, shape).astype(np.float32)
        module = resolve(row.text, norms).kernel(shape, nnx.Rngs(0))
        used = module(jnp.asarray(kernel))
        assert used.dtype == jnp.float32
        np.testing.assert_allclose(used, row.kernel(kernel.astype(np.float64)), atol=2e-6)
        assert module(jnp.asarray(kernel, jnp.bfloat16)).dtype == jnp.bfloat16


def small(**fields: Any) -> ModelConfig:
    given = {"widths": (4, 6), "strides": (2, 1), "first_kernel_size": 3, "norm": "none"} | fields
    return ModelConfig((6, 6, 2), 3, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (field, row.text)
        for field, room in (("norm", norms), ("layer", layers), ("activation", activations))
        for row in ROOMS[room][0].values()
    ],
)
def test_networks_of_several_seeds_train_side_by_side(field, text):
    """The other network of a step under `vmap` in `jit` changes nothing; gradients are finite, reach all."""
    config = small(**{field: text})
    model = nnx.eval_shape(lambda: build(config, 0))
    model.train()
    graph = nnx.graphdef(model)
    x = jax.random.normal(jax.random.key(0), (6, 6, 6, 2))

    def step(state: Any, x: Any) -> Any:
        params, rest = nnx.split_state(state, nnx.Param, ...)

        def loss(params: Any) -> Any:
            network = nnx.merge(graph, nnx.merge_state(params, rest), copy=True)
            return jnp.square(network(x)).mean(), nnx.split_state(nnx.state(network), nnx.Param, ...)[1]

        return jax.value_and_grad(loss, has_aux=True)(params)

    states = [nnx.state(build(config, seed)) for seed in (0, 1)]
    run = jax.jit(jax.vmap(step, in_axes=(0, None)))
    found, turned = (
        run(jax.tree.map(lambda *leaves: jnp.stack(leaves), *order), x) for order in (states, states[::-1])
    )
    jax.tree.map(lambda one, two: np.testing.assert_array_equal(one, two[::-1]), found, turned)
    assert found[0][0][0] != found[0][0][1]
    slopes = jax.tree.leaves(found[1])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert all(np.asarray(leaf).any() for leaf in slopes if leaf.ndim > 2)
    assert not any(leaf.dtype != jnp.float32 for leaf in slopes)


# Layers


def patches_of(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """SAME patches [batch, row, column, patch], one output at a time."""
    out = [-(-length // stride) for length in x.shape[1:3]]
    pad = [max((n - 1) * stride + size - length, 0) for n, length in zip(out, x.shape[1:3], strict=True)]
    x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pad), (0, 0)))
    found = np.empty((len(x), *out, size * size * x.shape[-1]))
    for r, c in np.ndindex(*out):
        patch = x[:, r * stride : r * stride + size, c * stride : c * stride + size]
        found[:, r, c] = patch.reshape(len(x), -1)
    return found


@cases(layers)
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1), (2, 2)])
def test_a_layer_gives_the_reference_in_both_programs(row, size, stride):
    x = np.random.default_rng(2).normal(size=(2, 5, 4, 2)).astype(np.float32)
    options = {"stride": stride, "use_bias": False, "kernel_norm": None}
    one, other = (
        resolve(row.text, layers).make(2, 3, size, form=form, rngs=nnx.Rngs(4), **options)
        for form in ("lax", "slices")
    )
    kernel = np.asarray(one.kernel[...], np.float64)
    assert kernel.size == row.kernel(size * size * 2, 3) and kernel.shape[-1] == 3
    np.testing.assert_array_equal(kernel, np.asarray(other.kernel[...], np.float64))
    exact = row.reference(kernel, patches_of(x.astype(np.float64), size, stride))
    for y in jax.jit(lambda x: (one(x), other(x)))(x):
        assert y.dtype == jnp.float32
        # At most 19^2 products of order 1.
        np.testing.assert_allclose(y, exact, atol=1e-5)


@cases(layers)
def test_a_layer_uses_the_kernel_that_a_norm_gives(row):
    x = jax.random.normal(jax.random.key(5), (2, 5, 4, 2))
    options = {"stride": 1, "use_bias": False, "form": "lax"}
    align = resolve("weight_align()", norms).kernel
    normed, plain = (
        resolve(row.text, layers).make(2, 3, 3, kernel_norm=norm, rngs=nnx.Rngs(4), **options)
        for norm in (align, None)
    )
    plain.kernel[...] = align(plain.kernel.shape, nnx.Rngs(0))(plain.kernel[...])
    np.testing.assert_allclose(normed(x), plain(x), atol=1e-6)


# Activations


@cases(activations)
def test_an_activation_gives_the_reference_and_keeps_shape_and_type(row):
    made = resolve(row.text, activations).make(3, nnx.Rngs(0))
    x = np.linspace(-4, 4, 2 * 3 * 5 * 3).reshape(2, 3, 5, 3).astype(np.float32)
    y = made(jnp.asarray(x))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, row.reference(x.astype(np.float64)), atol=1e-6)
    assert made(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16
    slope = jax.grad(lambda x: made(x).sum())(jnp.asarray(x).at[0].set(0.0))
    assert np.isfinite(slope).all() and np.asarray(slope)[1].any()


@cases(activations)
def test_an_activation_has_the_parameters_and_the_site_that_are_said(row):
    kind = resolve(row.text, activations)
    made = kind.make(3, nnx.Rngs(0))
    found = {} if not isinstance(made, nnx.Module) else dict(nnx.to_flat_state(nnx.state(made)))
    assert {".".join(map(str, path)): leaf.shape for path, leaf in found.items()} == row.params
    if not row.params:
        assert kind.make(3, nnx.Rngs(0)) is made
    sites = pwact.probe(build(small(activation=row.text), 0), jnp.zeros((1, 6, 6, 2))).sites
    wanted = ["input", "blocks.0.conv", "blocks.1.conv", "mean", "head"]
    if row.site is not None:
        wanted = [*wanted[:2], f"blocks.0.{row.site}", wanted[2], f"blocks.1.{row.site}", *wanted[3:]]
    assert list(sites) == wanted


# Edits


@cases(edits)
@pytest.mark.parametrize("shape", [(6, 4, 3, 5), (7, 9)], ids=["map", "vector"])
def test_an_edit_gives_the_reference_and_keeps_shape_and_type(row, shape):
    edit = resolve(row.text, edits)
    assert edit.evaluation == row.evaluation
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        y = np.asarray(jax.jit(edit)(jax.random.key(seed), x))
        assert y.dtype == np.float32
        if row.reference is not None:
            np.testing.assert_array_equal(y, row.reference(x.astype(np.float64)).astype(np.float32))
        else:
            assert set((y / x).ravel().astype(np.float64).round(4)) == {0.0, round(row.kept[1], 4)}
    assert edit(jax.random.key(0), jnp.ones(shape, jnp.bfloat16)).dtype == jnp.bfloat16


@cases(edits)
def test_a_random_edit_keeps_the_share_that_is_said_by_its_key_alone(row):
    edit, x = resolve(row.text, edits), jnp.ones((8, 10, 10, 20))
    one, same, other = (np.asarray(edit(jax.random.key(key), x)) for key in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (row.kept is None) == np.array_equal(one, other)
    if row.kept is not None:
        share, factor = row.kept
        # Five standard errors of a share of 16,000.
        assert abs((one > 0).mean() - share) < 5 * np.sqrt(share * (1 - share) / one.size)
        assert abs(one.mean() - 1) < 5 * factor * np.sqrt(share * (1 - share) / one.size)


@cases(edits)
def test_an_edit_of_constant_and_of_zero_activations_is_finite(row):
    edit = resolve(row.text, edits)
    for x in (jnp.zeros((2, 3, 3, 2)), jnp.full((2, 3, 3, 2), -2.5)):
        y, slope = jax.value_and_grad(lambda x: edit(jax.random.key(0), x).sum())(x)
        assert np.isfinite(y) and np.isfinite(slope).all()
        if row.kept is None:
            np.testing.assert_array_equal(edit(jax.random.key(0), x), x)


@cases(edits)
def test_edits_of_several_seeds_do_not_touch_each_other(row):
    edit = resolve(row.text, edits)
    x = jax.random.normal(jax.random.key(7), (3, 4, 5, 5, 2)) * jnp.array([1.0, 10.0, 100.0]).reshape(
        3, 1, 1, 1, 1
    )
    keys = jax.random.split(jax.random.key(8), 3)
    together = jax.jit(jax.vmap(edit))(keys, x)
    for place in range(3):
        np.testing.assert_array_equal(together[place], edit(keys[place], x[place]))
