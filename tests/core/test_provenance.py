from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.provenance import check_finite_variables, machine, variables_hash
from pwact.errors import NonFiniteError

VARIABLES = {
    "conv": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}
}


def changed(change):
    copy = jax.tree.map(np.copy, VARIABLES)
    return change(copy) or copy


def test_a_hash_sees_every_change():
    others = [
        changed(lambda v: v["conv"]["bias"].__setitem__(2, 1e-30)),
        changed(lambda v: {"conv": {"kernel": v["conv"]["kernel"].T.copy(), "bias": v["conv"]["bias"]}}),
        changed(
            lambda v: {"conv": {"kernel": v["conv"]["kernel"].astype(np.float16), "bias": v["conv"]["bias"]}}
        ),
        changed(lambda v: {"conv": {"weight": v["conv"]["kernel"], "bias": v["conv"]["bias"]}}),
        None,
    ]
    hashes = {variables_hash(variables) for variables in [VARIABLES, *others]}
    assert len(hashes) == 6


def test_the_hash_is_of_the_numbers_wherever_they_are():
    assert variables_hash(VARIABLES) == variables_hash(jax.tree.map(jnp.asarray, VARIABLES))
    transposed = {"x": np.arange(6).reshape(2, 3).T}
    assert variables_hash(transposed) == variables_hash({"x": np.ascontiguousarray(transposed["x"])})
    assert variables_hash({"key": jax.random.key(0)}) != variables_hash({"key": jax.random.key(1)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16])
def test_variables_that_are_not_finite_are_named(value, dtype):
    variables = {"step": np.int32(3), "conv": [np.zeros(2, dtype), np.array([0, value], dtype)]}
    with pytest.raises(NonFiniteError, match=r"1 of 2 not finite in \['conv'\]\[1\]"):
        check_finite_variables(variables)
    check_finite_variables({"step": np.int32(3), "key": jax.random.key(0), "empty": np.zeros(0, dtype)})


def test_the_machine_is_described():
    told = machine()
    assert f"jax={jax.__version__}" in told["versions"].split() and told["backend"] == jax.default_backend()
