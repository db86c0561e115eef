"""Convolutions of a backward pass, with their operands stored as a loop on CPU needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jax.extend.core.primitives import jit_p

from pwact.core.probe.emit import context_of


def convolutions_in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its convolutions reading (batch, row, column, channel) and (row, column, in, out).

    A backward pass convolves with the forward pass's kernel, in and out exchanged by name only. XLA on CPU
    takes operands in another order well in a program of its own, and inside a loop, as a sweep's, four to
    ten times slower, and with batch and channel exchanged a hundred times, than those that were put in
    order first. Convolutions in the function's own loops and branches are left as they are.

    Args:
        function: of arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> dims = ("NHWC", "HWOI", "NHWC")
        >>> conv = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=dims)
        >>> image, kernel = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 4, 2))
        >>> jaxpr = jax.make_jaxpr(convolutions_in_order(conv))(image, kernel)
        >>> [equation.primitive.name for equation in jaxpr.eqns]
        ['transpose', 'conv_general_dilated']
    """

    def ordered(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shapes), _evaluate(closed, jax.tree.leaves(args)))

    return ordered


def _evaluate(closed: ClosedJaxpr, args: list[Any]) -> list[Any]:
    jaxpr = closed.jaxpr
    values: dict[Var, Any] = dict(
        zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *args), strict=True)
    )

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        with context_of(equation):
            results = _apply(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: JaxprEqn, args: list[Any]) -> list[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive is jit_p:
        return _evaluate(params["jaxpr"], args)
    if primitive is lax.conv_general_dilated_p:
        return [_convolution(params, *args)]
    found = primitive.bind(*args, **primitive.get_bind_params(params))
    return found if primitive.multiple_results else [found]


def _convolution(params: dict[str, Any], image: Any, kernel: Any) -> Any:
    given, (out, into, *window), wanted = params["dimension_numbers"]
    last = image.ndim - 1
    map_order, kernel_order = (0, last, *range(1, last)), (last, last - 1, *range(last - 1))
    result = lax.conv_general_dilated_p.bind(
        image.transpose(_axes(given)),
        kernel.transpose(*window, into, out),
        **{**params, "dimension_numbers": lax.ConvDimensionNumbers(map_order, kernel_order, map_order)},
    )
    axes = _axes(wanted)
    return result.transpose(sorted(range(len(axes)), key=axes.__getitem__))


def _axes(spec: tuple[int, ...]) -> tuple[int, ...]:
    """Where batch, row, column and channel are."""
    batch, channel, *places = spec
    return (batch, *places, channel)
