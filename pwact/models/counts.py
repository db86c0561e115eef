"""Parameters and multiplications of any architecture, read from its variables and its program."""

from __future__ import annotations

import functools
import math
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import Jaxpr

from pwact.core.probe.nnx_model import nnx_function
from pwact.core.probe.normal_form import bodies
from pwact.core.probe.scopes import path_of, scopes
from pwact.core.probe.trace import trace
from pwact.errors import PwactError
from pwact.models.architecture import Architecture

Path = tuple[str, ...]
"""A module's place in its network: ("blocks", "0", "conv1")."""


def parameters(architecture: Architecture) -> int:
    """Trainable numbers in the network: the entries of its `nnx.Param` variables.

    Example:
        >>> from pwact.models import ModelConfig, parameters
        >>> parameters(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3))
        54
    """
    return sum(parameters_by_module(architecture).values())


def multiplications(architecture: Architecture) -> int:
    """Multiply-accumulates of all convolutions and matrix products for one image, in evaluation mode.

    A convolution takes outputs x kernel rows x kernel columns x input channels / groups; the zeros of the
    padding are counted, as in published tables, and so is each turn of a loop. Of branches the dearest
    counts.

    Raises:
        PwactError: a convolution or product in a `while` loop, whose turns the program does not say.

    Example:
        >>> from pwact.models import ModelConfig, multiplications
        >>> multiplications(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3))
        2312
    """
    return sum(multiplications_by_module(architecture).values())


def parameters_by_module(architecture: Architecture) -> Counter[Path]:
    """Trainable numbers that each module holds itself."""
    counts: Counter[Path] = Counter()
    for path, variable in nnx.to_flat_state(nnx.state(_model(architecture), nnx.Param)):
        counts[tuple(map(str, path[:-1]))] += math.prod(variable.shape)
    return counts


def multiplications_by_module(architecture: Architecture) -> Counter[Path]:
    """Multiply-accumulates for one image in each module, those in its submodules not included."""
    image = jax.ShapeDtypeStruct((1, *architecture.image_shape), jnp.float32)
    program = trace(*nnx_function(_model(architecture), "evaluation"), image, 1)
    return _of_program(program.jaxpr, ())


@functools.lru_cache(maxsize=8)
def _model(architecture: Architecture) -> nnx.Module:
    """The network, abstract."""
    return nnx.eval_shape(lambda: architecture.build(nnx.Rngs(params=0)))


def _of_program(jaxpr: Jaxpr, outer: tuple[Any, ...]) -> Counter[Path]:
    counts: Counter[Path] = Counter()
    for equation in jaxpr.eqns:
        frames = outer + scopes(equation)
        products = _products(equation)
        if products:
            counts[tuple(filter(None, path_of(frames).split(".")))] += products
        inside = [_of_program(body.jaxpr, frames) for body in bodies(equation)]
        name = equation.primitive.name
        if name == "while" and any(inside):
            raise PwactError(
                "convolutions and products in loops of known length",
                "some in a `while` loop",
                "use `jax.lax.scan`, or a `fori_loop` of fixed length",
            )
        if name == "cond" and inside:
            inside = [max(inside, key=Counter.total)]
        turns = equation.params["length"] if name == "scan" else 1
        for found in inside:
            counts.update({path: turns * number for path, number in found.items()})
    return counts


def _products(equation: Any) -> int:
    """Multiply-accumulates of one equation."""
    name, params = equation.primitive.name, equation.params
    result = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out = params["dimension_numbers"].rhs_spec[0]
        return result * (math.prod(kernel) // kernel[out])
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return result * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 0
