"""A thousand edits at one site: by `vmap` of runs, by a cut, and over several devices."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import pwact

IMAGE = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
VARIABLES = {
    "below": jax.random.normal(jax.random.key(1), (3, 3, 3, 4)) * 0.3,
    "above": jax.random.normal(jax.random.key(2), (4, 5)),
}
POINTS = np.stack(np.unravel_index(np.arange(1000) % (6 * 6 * 4), (6, 6, 4)), axis=-1)


def model(v, x):
    dims = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, v["below"], (1, 1), "SAME", dimension_numbers=dims)
    return jax.nn.relu(y).mean((1, 2)) @ v["above"]


def silenced(activation, point):
    row, column, channel = point
    return activation.at[:, row, column, channel].set(0.0)


@pytest.fixture(scope="module")
def probed():
    return pwact.probe(model, IMAGE, variables=VARIABLES)


@pytest.fixture(scope="module")
def expected():
    """In NumPy: the mean of one channel loses one point, and the product is linear."""
    relu = np.asarray(
        jax.nn.relu(
            jax.lax.conv_general_dilated(
                IMAGE, VARIABLES["below"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        ),
        np.float64,
    )
    above = np.asarray(VARIABLES["above"], np.float64)
    full = relu.mean((1, 2)) @ above
    return np.stack([full - relu[:, r, c, k][:, None] / 36 * above[k] for r, c, k in POINTS])


def convolutions(function):
    """The number of elements that the convolutions of a program compute."""
    equations = jax.make_jaxpr(function)(VARIABLES, IMAGE).eqns
    return sum(e.outvars[0].aval.size for e in equations if str(e.primitive) == "conv_general_dilated")


def by_runs(probed, variables, image):
    def one(point):
        return probed.run(variables, image, edits={"relu": lambda a: silenced(a, point)})[0]

    return jax.vmap(one)(POINTS)


def by_cut(probed, variables, image):
    cut = probed.cut("relu")
    activation, rest = cut.below(variables, image)
    return jax.vmap(lambda point: cut.above(variables, silenced(activation, point), rest))(POINTS)


@pytest.mark.parametrize("way", [by_runs, by_cut])
def test_every_edit_is_that_of_its_point_and_the_part_below_is_computed_once(probed, expected, way):
    found = jax.jit(lambda v, x: way(probed, v, x))(VARIABLES, IMAGE)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert convolutions(lambda v, x: way(probed, v, x)) == 2 * 6 * 6 * 4
    assert probed.traces == 1


def test_the_slope_of_every_edit(probed):
    def loss(strength, point):
        def edit(activation):
            return activation - strength * (activation - silenced(activation, point))

        return probed.run(VARIABLES, IMAGE, edits={"relu": edit})[0][:, 0].sum()

    slopes = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(0.0, POINTS[:144])
    relu = np.asarray(probed.capture(VARIABLES, IMAGE, ["relu"])["relu"])
    weights = np.asarray(VARIABLES["above"])[:, 0]
    np.testing.assert_allclose(slopes, -(relu.sum(0) * weights).reshape(-1) / 36, rtol=1e-4, atol=1e-6)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, pwact
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
assert jax.device_count() == 4
def model(v, x):
    y = jax.nn.relu(jnp.einsum("bhwc,cd->bhwd", x, v))
    return y.mean((1, 2)), (y - y.mean((0, 1, 2)).reshape(1, 1, 1, 2)).max((1, 2))
v, x = jnp.arange(6.0).reshape(3, 2) - 2, jax.random.normal(jax.random.key(0), (8, 4, 4, 3))
probed = pwact.probe(model, x[:2], variables=v)
mesh = Mesh(jax.devices(), "d")
spread = jax.device_put(x, NamedSharding(mesh, P("d")))
cut = probed.cut("relu")
def edited(v, x, scales):
    activation, rest = cut.below(v, x)
    return jax.vmap(lambda scale: cut.above(v, scale * activation, rest))(scales)
scales = jnp.arange(3.0)
found = jax.jit(edited)(v, spread, scales)
for scale, mean, top in zip(scales, *found):
    y = scale * jax.nn.relu(jnp.einsum("bhwc,cd->bhwd", x, v))
    np.testing.assert_allclose(mean, y.mean((1, 2)), rtol=1e-5, atol=1e-6)
    centred = y - y.mean((0, 1, 2)).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(top, centred.max((1, 2)), rtol=1e-5, atol=1e-5)
assert not found[0].is_fully_replicated, found[0].sharding
slope = jax.jit(jax.grad(lambda x: probed.run(v, x, edits={"relu": lambda a: a * a})[0][0].sum()))(spread)
assert len(slope.sharding.device_set) == 4 and not slope.is_fully_replicated
y = np.maximum(np.asarray(x) @ np.asarray(v), 0)
np.testing.assert_allclose(slope, 2 * y @ np.asarray(v).T / 16, rtol=1e-4, atol=1e-5)
assert probed.traces == 1
"""


def test_a_cut_of_a_batch_over_several_devices_for_many_edits():
    subprocess.run(
        [sys.executable, "-c", SHARDED],
        check=True,
        timeout=120,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
