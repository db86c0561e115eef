"""Which bare operations a researcher would point at where nothing else names their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jax.extend.core import JaxprEqn, Literal, Var

NAMES = {
    "conv_general_dilated": "conv",
    "dot_general": "dot",
    "reduce_window_max": "max_pool",
    "reduce_window_min": "min_pool",
    "reduce_window": "pool",
    "tanh": "tanh",
    "logistic": "sigmoid",
    "cond": "cond",
    "scan": "scan",
    "while": "while",
}
"""Always worth a name."""

POOLS = {"reduce_window_sum": ("sum_pool", "avg_pool"), "reduce_sum": ("sum", "mean")}
"""Sums that are averages when their only reader divides them by something that is no image."""


def named_operation(
    equation: JaxprEqn, readers: Mapping[Var, list[JaxprEqn]], dependent: Collection[Var]
) -> tuple[str, Sequence[Var]] | None:
    """The operation's name and the values that carry its results, or None.

    Args:
        equation: one equation of a program.
        readers: for each variable, the equations that read it.
        dependent: the variables whose value depends on the images.
    """
    name = equation.primitive.name
    results = [var for var in equation.outvars if var in dependent]
    operands = [atom for atom in equation.invars if not isinstance(atom, Literal) and atom in dependent]
    if not results:
        return None
    if name in NAMES:
        return NAMES[name], results
    if name == "add" and len(operands) == 2:
        return "add", results
    if name == "max" and len(operands) == 1:
        return "relu" if _is_zero(equation) else "max", results
    if name == "reduce_max" and _is_global(equation):
        return "global_max", results
    if name == "reduce_window_sum" or (name == "reduce_sum" and _is_global(equation)):
        return _sum_or_mean(name, results[0], readers, dependent)
    return None


def _is_zero(equation: JaxprEqn) -> bool:
    constants = [atom.val for atom in equation.invars if isinstance(atom, Literal)]
    return bool(constants) and not np.any(np.asarray(constants[0]))


def _is_global(equation: JaxprEqn) -> bool:
    """Whether a reduction leaves one number for each image and channel of a map."""
    return (
        equation.invars[0].aval.ndim == 4
        and len(equation.params["axes"]) == 2
        and 0 not in equation.params["axes"]
    )


def _sum_or_mean(
    name: str, result: Var, readers: Mapping[Var, list[JaxprEqn]], dependent: Collection[Var]
) -> tuple[str, Sequence[Var]]:
    total, average = POOLS[name]
    following, read = readers.get(result, []), result
    if len(following) == 1 and following[0].primitive.name == "broadcast_in_dim":  # axes that are kept
        (read,) = following[0].outvars
        following = readers.get(read, [])
    if len(following) == 1 and _is_scaling(following[0], read, dependent):
        return average, following[0].outvars
    return total, [result]


def _is_scaling(equation: JaxprEqn, var: Var, dependent: Collection[Var]) -> bool:
    """Whether an equation divides a variable by what is no image, or multiplies it by a number."""
    first, *others = equation.invars
    if equation.primitive.name == "div":
        return first is var and all(isinstance(atom, Literal) or atom not in dependent for atom in others)
    return equation.primitive.name == "mul" and any(isinstance(atom, Literal) for atom in equation.invars)
