"""Bare operations are called what a researcher would call them, and hold the value of that name."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import lax

import pwact

IMAGE = jax.random.uniform(jax.random.key(0), (3, 6, 6, 2), minval=0.5)
GAIN = jnp.array([2.0, 3.0])


def window(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


CASES = {
    "mean": (lambda x: x.mean((1, 2)) ** 2, "mean", lambda x: x.mean((1, 2))),
    "mean that keeps axes": (
        lambda x: x * x.mean((1, 2), keepdims=True),
        "mean",
        lambda x: x.mean((1, 2), keepdims=True),
    ),
    "sum times a number": (lambda x: x.sum((1, 2)) * 0.5 + 1.0, "mean", lambda x: x.sum((1, 2)) * 0.5),
    "sum": (lambda x: jnp.sqrt(x.sum((1, 2))), "sum", lambda x: x.sum((1, 2))),
    "reciprocal of a sum": (lambda x: 1.0 / x.sum((1, 2)), "sum", lambda x: x.sum((1, 2))),
    "sum times weights": (lambda x: x.sum((1, 2)) * GAIN[None], "sum", lambda x: x.sum((1, 2))),
    "share of the sum": (
        lambda x: x / x.sum((1, 2), keepdims=True),
        "sum",
        lambda x: x.sum((1, 2)),
    ),
    "maximum": (lambda x: x.max((1, 2)) * 2.0, "global_max", lambda x: x.max((1, 2))),
    "sum pool": (lambda x: jnp.sqrt(window(x)), "sum_pool", window),
    "average pool": (lambda x: jnp.sqrt(window(x) / 4), "avg_pool", lambda x: window(x) / 4),
    "average pool of flax": (
        lambda x: jnp.sqrt(linen.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False)),
        "avg_pool",
        lambda x: linen.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False),
    ),
    "ramp written out": (lambda x: jnp.maximum(x - 0.7, 0) * 2.0, "relu", lambda x: jax.nn.relu(x - 0.7)),
    "other threshold": (lambda x: jnp.maximum(x, 0.7) * 2.0, "max", lambda x: jnp.maximum(x, 0.7)),
    "sum of two maps": (lambda x: jnp.sqrt(x * 2.0 + x**2), "add", lambda x: x * 2.0 + x**2),
}


@pytest.mark.parametrize("case", CASES)
def test_name_and_value(case):
    model, name, value = CASES[case]
    probed = pwact.probe(model, IMAGE)
    assert [site for site in probed.sites if site not in ("input", "output")] == [name]
    _, captured = probed.run(None, IMAGE, sites=[name])
    np.testing.assert_allclose(captured[name], value(IMAGE), rtol=1e-5)


def test_a_bias_is_not_a_sum_of_maps():
    probed = pwact.probe(lambda v, x: jnp.sqrt(x + v.reshape(1, 1, 1, 2) + 1.0), IMAGE, variables=GAIN)
    assert list(probed.sites) == ["input", "output"]
