"""Follow the image through a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from pwact.core.receptive_field.field import ReceptiveField
from pwact.core.receptive_field.rules import RULES, gather, unknown
from pwact.core.receptive_field.view import Value, View, united

LONGEST_SCAN = 64
"""So many turns of a scan are followed; what it returns after more is unknown, unless it has settled."""


class Fields:
    """What every value of a program sees of one of its inputs.

    Args:
        jaxpr: a program whose shapes are numbers.
        image: the input, [batch, ...]. Its rows and columns are the two axes along which convolutions
            slide, and axes 1 and 2 where none does.
        constants: the inputs whose values are known, such as indices; those being traced are not.
    """

    def __init__(self, jaxpr: Jaxpr, image: Var, constants: Mapping[Var, Any]):
        self.shape = image.aval.shape
        self._values: dict[Var, Value] = {}
        self._fixed = {var: None if isinstance(value, Tracer) else value for var, value in constants.items()}
        self._definitions: dict[Var, JaxprEqn] = {}
        self._slid: set[int] = set()
        # Of the batch only the axis along which it lies is followed, for any operation may mix images.
        start = tuple(View({axis: 1}, 0, 1, 0, size, known=axis > 0) for axis, size in enumerate(self.shape))
        self._run(ClosedJaxpr(jaxpr, ()), [start if var is image else None for var in jaxpr.invars])

    def field(self, var: Var) -> ReceptiveField | None:
        """The receptive field of a point of a value; None where it cannot be said.

        A value without rows and columns is taken as a whole.
        """
        views = self._rows_and_columns(var)
        if views is None or not all(view.known for view in views):
            return None
        shape = var.aval.shape
        moving = [axis for view in views for axis in view.strides]
        if any(len(view.strides) > 1 for view in views) or not _in_order(views, len(shape)):
            return None
        channels = set(range(len(shape))) - set(moving) if moving else {len(shape) - 1}
        if any(view.loose - channels for view in views):
            return None
        seen = [view.hull(shape) for view in views]
        windows = [
            (view.size, *view.strides.values(), view.offset) if view.strides else (high - low, 0, low)
            for view, (low, high) in zip(views, seen, strict=True)
        ]
        size, stride, offset = zip(*windows, strict=True)
        (rows, columns) = seen
        return ReceptiveField(
            size, stride, offset, (rows, columns), tuple(self.shape[axis] for axis in self._axes())
        )

    def is_map(self, var: Var) -> bool:
        """Whether a value of rank 4 is [batch, row, column, channel], as far as the program says."""
        views = self._rows_and_columns(var)
        if len(var.aval.shape) != 4:
            return False
        return views is None or all(
            not view.known or (set(view.strides) <= {axis} and view.loose <= {axis, 3})
            for axis, view in enumerate(views, 1)
        )

    def batch_axis(self, var: Var) -> int | None:
        """The axis of a value along which the images lie, one an index; None when there is no such."""
        value = self._values.get(var)
        if value is None:
            return None
        if not value[0].strides and value[0].size == 0:  # after an operation without a rule
            sizes = list(var.aval.shape)
            return sizes.index(self.shape[0]) if self.shape[0] in sizes else None
        return next((axis for axis, stride in value[0].strides.items() if stride == 1), None)

    def _axes(self) -> tuple[int, ...]:
        """The image's axes of rows and columns; another number than two when it has no such."""
        return tuple(sorted(self._slid)) if self._slid else (1, 2)[: len(self.shape) - 1]

    def _rows_and_columns(self, var: Var) -> tuple[View, ...] | None:
        value, axes = self._values.get(var), self._axes()
        return tuple(value[axis] for axis in axes) if value is not None and len(axes) == 2 else None

    def _run(self, body: ClosedJaxpr, args: Sequence[Value]) -> list[Value]:
        """What the results of a program see, given what its inputs see."""
        local: dict[Var, Value] = dict(zip(body.jaxpr.invars, args, strict=True))
        for equation in body.jaxpr.eqns:
            values = [None if isinstance(atom, Literal) else local.get(atom) for atom in equation.invars]
            self._note_sliding(equation, values)
            results = _SPECIAL.get(equation.primitive.name, _apply)(self, equation, values)
            local.update(zip(equation.outvars, results, strict=True))
            self._definitions.update(dict.fromkeys(equation.outvars, equation))
        for var, value in local.items():
            known = self._values.setdefault(var, value)
            if known != value:  # another turn of a loop
                self._values[var] = _unknown(known if known is not None else value)
        return [None if isinstance(atom, Literal) else local.get(atom) for atom in body.jaxpr.outvars]

    def fixed(self, atom: Any) -> Any:
        """The value of an atom that the program computes from nothing, such as an index; else None."""
        if isinstance(atom, Literal):
            return atom.val
        if atom not in self._fixed:
            definition = self._definitions.get(atom)
            self._fixed[atom] = self._computed(definition) if definition is not None else None
        return self._fixed[atom]

    def _computed(self, equation: JaxprEqn) -> Any:
        values = [self.fixed(operand) for operand in equation.invars]
        if equation.primitive.multiple_results or any(value is None for value in values):
            return None
        with jax.ensure_compile_time_eval():
            return equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))

    def _note_sliding(self, equation: JaxprEqn, values: Sequence[Value]) -> None:
        if equation.primitive.name == "conv_general_dilated" and values[0] is not None:
            slid = equation.params["dimension_numbers"].lhs_spec[2:]
            self._slid |= {axis for axis, view in enumerate(values[0]) if set(slid) & set(view.strides)}


def _in_order(views: Sequence[View], rank: int) -> bool:
    """Whether a value's rows come before its columns; where it has one of them only, its place must tell."""
    rows, columns = (set(view.strides) for view in views)
    if rows and columns:
        return max(rows) < min(columns)
    return rank < 4 or (rows <= {1} and columns <= {2})


def _apply(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    if all(value is None for value in values):
        return [None] * len(equation.outvars)
    rule = RULES.get(equation.primitive.name, unknown)
    return rule(equation.replace(params=jax.tree.map(_plain, equation.params)), values)


def _plain(value: Any) -> Any:
    """NumPy's integers, which padding and einsum leave in parameters, as Python's."""
    return int(value) if isinstance(value, np.integer) else value


def _gather(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    if all(value is None for value in values):
        return [None] * len(equation.outvars)
    indices = fields.fixed(equation.invars[1])
    return gather(equation, values, None if indices is None else np.asarray(indices))


def _dot(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """A product over an axis along which windows move, with fixed zeros in it, picks what it likes."""
    values = list(values)
    for side, axes in enumerate(equation.params["dimension_numbers"][0]):
        moving = any(axis in view.strides for view in values[side] or () for axis in axes)
        weights = fields.fixed(equation.invars[1 - side]) if moving else None
        if weights is not None and not np.all(weights):
            values[side] = _unknown(values[side])
    return _apply(fields, equation, values)


def _call(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    body = equation.params["call_jaxpr" if "call_jaxpr" in equation.params else "jaxpr"]
    return fields._run(body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ()), values)


def _cond(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    index, *operands = values
    branches = [fields._run(branch, operands) for branch in equation.params["branches"]]
    return [
        united([index, *results], var.aval.shape)
        for var, results in zip(equation.outvars, zip(*branches, strict=True), strict=True)
    ]


def _scan(fields: Fields, equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    params = equation.params
    split, carried = params["num_consts"], params["num_consts"] + params["num_carry"]
    constants, carry, xs = values[:split], list(values[split:carried]), list(values[carried:])
    for place, atom in enumerate(equation.invars[carried:]):
        xs[place] = _without_turns(xs[place], atom.aval.shape)
    stacks: list[list[Value]] = []
    for _ in range(min(params["length"], LONGEST_SCAN)):
        results = fields._run(params["jaxpr"], [*constants, *carry, *xs])
        settled = results[: len(carry)] == carry
        carry, ys = results[: len(carry)], results[len(carry) :]
        stacks.append(ys)
        if settled:
            break
    else:
        if params["length"] > LONGEST_SCAN:
            return unknown(equation, values)
    if not stacks:
        return [*carry, *[None] * (len(equation.outvars) - len(carry))]
    stacked = [
        _with_turns(turns, var.aval.shape)
        for var, turns in zip(equation.outvars[len(carry) :], zip(*stacks, strict=True), strict=True)
    ]
    return [*carry, *stacked]


def _without_turns(value: Value, shape: Sequence[int]) -> Value:
    if value is None:
        return None
    places = {axis: axis - 1 for axis in range(1, len(shape))}
    return tuple(view.spread(0, shape).moved(places) for view in value)


def _with_turns(turns: Sequence[Value], shape: Sequence[int]) -> Value:
    value = united(turns, shape[1:])
    if value is None:
        return None
    places = {axis: axis + 1 for axis in range(len(shape) - 1)}
    moved = tuple(view.moved(places) for view in value)
    if all(turn == value for turn in turns):
        return moved
    return tuple(dataclasses.replace(view, loose=view.loose | {0}) for view in moved)


def _unknown(value: Value) -> Value:
    return None if value is None else tuple(dataclasses.replace(view, known=False) for view in value)


_SPECIAL: dict[str, Callable[[Fields, JaxprEqn, Sequence[Value]], list[Any]]] = {
    **dict.fromkeys(
        ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"), _call
    ),
    "cond": _cond,
    "dot_general": _dot,
    "gather": _gather,
    "scan": _scan,
}
