"""Operands of a backward pass's convolutions are put in order, and no number changes by it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pwact.core.probe import probe
from pwact.core.probe.convolutions import convolutions_in_order

CASES = {
    "plain": dict(window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
    "strides": dict(window_strides=(2, 3), padding="VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")),
    "channels first": dict(window_strides=(2, 1), padding="SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")),
    "dilated": dict(
        window_strides=(1, 1), padding="SAME", rhs_dilation=(2, 1), dimension_numbers=("NHWC", "WOHI", "NHWC")
    ),
    "groups": dict(
        window_strides=(1, 2),
        padding="SAME",
        feature_group_count=2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ),
    "a line": dict(window_strides=(2,), padding="SAME", dimension_numbers=("NCW", "OIW", "NWC")),
}


def operands(options):
    rng = np.random.default_rng(0)
    lhs, rhs, _ = options["dimension_numbers"]
    size = {"N": 2, "C": 4, "H": 9, "W": 7, "O": 6, "I": 4 // options.get("feature_group_count", 1)}
    kernel = {**size, "H": 3, "W": 2}
    return tuple(
        jnp.asarray(rng.integers(-3, 4, [sizes[axis] for axis in spec]), jnp.float32)
        for spec, sizes in ((lhs, size), (rhs, kernel))
    )


@pytest.mark.parametrize("name", CASES)
def test_both_derivatives_of_a_convolution_stay_what_they_are(name):
    """Of whole numbers, whose sums no order rounds."""
    options = CASES[name]
    image, kernel = operands(options)
    result, pull = jax.vjp(lambda x, k: lax.conv_general_dilated(x, k, **options), image, kernel)
    cotangent = jnp.round(4 * jax.random.normal(jax.random.key(0), result.shape))
    expected = pull(cotangent)
    found = jax.jit(convolutions_in_order(pull))(cotangent)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    jaxpr = jax.make_jaxpr(convolutions_in_order(pull))(cotangent).jaxpr
    last = image.ndim - 1
    for spec in convolutions(jaxpr):
        assert spec[0] == spec[2] == (0, last, *range(1, last)) and spec[1][:2] == (last, last - 1)
    assert max(float(jnp.abs(leaf).max()) for leaf in expected) > 10


def convolutions(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive is lax.conv_general_dilated_p:
            yield tuple(equation.params["dimension_numbers"])
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")):
            if hasattr(inner, "jaxpr"):
                yield from convolutions(inner.jaxpr)


def test_every_convolution_of_a_probe_s_gradients_reads_operands_in_order():
    options = CASES["plain"]
    conv = jax.jit(lambda x, k: lax.conv_general_dilated(x, k, **options))

    def model(variables, image):
        image = jnp.tanh(conv(image, variables))
        return lax.conv_general_dilated(image, variables, **options).sum((1, 2))

    variables, image = jnp.ones((3, 3, 2, 2)), jnp.ones((1, 6, 6, 2))
    probed = probe(model, image, variables=variables)

    def slopes(image):
        return probed.gradients(variables, image, of=lambda outputs: outputs[:, 0], sites=["input"])[2]

    specs = list(convolutions(jax.make_jaxpr(slopes)(image).jaxpr))
    in_order = {((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))}
    assert len(specs) == 4 and set(specs) == in_order
    usual = jax.make_jaxpr(jax.grad(lambda image: model(variables, image)[:, 0].sum()))(image)
    assert set(convolutions(usual.jaxpr)) != in_order  # what would be slow in a loop


def test_structure_of_arguments_and_results_is_kept():
    def function(pair, scale):
        return {"sum": pair[0] + pair[1] * scale, "same": scale}, 3.0

    found, constant = convolutions_in_order(function)((jnp.ones(2), jnp.arange(2.0)), jnp.float32(2))
    assert found["sum"].tolist() == [1, 3] and float(found["same"]) == 2 and float(constant) == 3
