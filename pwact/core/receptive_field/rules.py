"""How each operation changes what its result sees of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn, Literal

from pwact.core.receptive_field.view import Shape, Value, View, united

Rule = Callable[[JaxprEqn, Sequence[Value]], list[Value]]
"""From an equation and what its operands see to what its results see."""


def elementwise(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """An operand of size 1 along an axis is read at every index of the result's."""
    shape = equation.outvars[0].aval.shape
    read = []
    for atom, value in zip(equation.invars, values, strict=True):
        axes = {axis: axis for axis, size in enumerate(atom.aval.shape) if size == shape[axis]}
        read.append(_moved(value, axes))
    return [united(read, shape)]


def each(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return list(values)


def broadcast_in_dim(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    old, new = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    places = {
        axis: place
        for axis, place in enumerate(equation.params["broadcast_dimensions"])
        if old[axis] == new[place]
    }
    return [_moved(values[0], places)]


def transpose(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return [_moved(values[0], {axis: place for place, axis in enumerate(equation.params["permutation"])})]


def squeeze(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return [_moved(values[0], _without(equation.invars[0].aval.ndim, equation.params["dimensions"]))]


def reduction(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    operand, axes = equation.invars[0].aval, equation.params["axes"]
    return [
        _moved(_spread(value, axes, operand.shape), _without(operand.ndim, axes))
        for value in values[: len(equation.outvars)]
    ]


def collective(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """What `lax.psum` over the axis of a `vmap` becomes: a reduction by number instead of name."""
    by_number = all(isinstance(axis, int) for axis in equation.params["axes"])
    return reduction(equation, values) if by_number else unknown(equation, values)


def cumulative(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return [_spread(value, [equation.params["axis"]], equation.invars[0].aval.shape) for value in values]


def sort(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    shape = equation.invars[0].aval.shape
    mixed = _spread(united(values, shape), [equation.params["dimension"]], shape)
    return [mixed] * len(equation.outvars)


def concatenate(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    axis = equation.params["dimension"]
    shape = equation.outvars[0].aval.shape
    shifted, start = [], 0
    for operand, value in zip(equation.invars, values, strict=True):
        shifted.append(_map(value, lambda view, start=start: _placed(view, axis, start)))
        start += operand.aval.shape[axis]
    result = united(shifted, shape)
    different = any(value != result for value in shifted)
    # A window that moves along the axis in other steps than its neighbours' cannot be said in one stride.
    moving = [
        any(value is not None and axis in value[i].strides for value in shifted)
        for i in range(len(result or ()))
    ]
    if result is None or not different:
        return [result]
    return [
        tuple(
            dataclasses.replace(view, known=view.known and not moves, loose=view.loose | {axis})
            for view, moves in zip(result, moving, strict=True)
        )
    ]


def split(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    axis, shape = equation.params["axis"], equation.invars[0].aval.shape
    starts = np.cumsum([0, *equation.params["sizes"]])
    return [_along(values[0], axis, shape, int(start)) for start in starts[:-1]]


def slice_(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    shape, value = equation.invars[0].aval.shape, values[0]
    steps = equation.params["strides"] or [1] * len(shape)
    for axis, (start, step) in enumerate(zip(equation.params["start_indices"], steps, strict=True)):
        value = _along(value, axis, shape, start, step)
    return [value]


def dynamic_slice(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    shape, value = equation.invars[0].aval.shape, values[0]
    sizes = equation.params["slice_sizes"]
    for axis, start in enumerate(equation.invars[1 : 1 + len(shape)]):
        if isinstance(start, Literal):
            value = _along(value, axis, shape, min(max(int(start.val), 0), shape[axis] - sizes[axis]))
        elif sizes[axis] < shape[axis]:
            value = _map(value, lambda view, axis=axis: view.lost(axis))
    return [value]


def pad(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    shape, value = equation.invars[0].aval.shape, values[0]
    for axis, (low, _, interior) in enumerate(equation.params["padding_config"]):
        if interior:
            value = _map(value, lambda view, axis=axis: view.lost(axis))
        value = _along(value, axis, shape, -low)
    return [united([value, values[1]], equation.outvars[0].aval.shape)]


def reverse(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    shape, value = equation.invars[0].aval.shape, values[0]
    for axis in equation.params["dimensions"]:
        value = _along(value, axis, shape, shape[axis] - 1, -1)
    return [value]


def reduce_window(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    params, shape, value = equation.params, equation.invars[0].aval.shape, values[0]
    for axis in range(len(shape)):
        value = _windowed(
            value,
            axis,
            shape,
            params["window_dimensions"][axis],
            params["window_strides"][axis],
            params["padding"][axis][0],
            params["base_dilation"][axis],
            params["window_dilation"][axis],
        )
    return [value]


def convolution(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    params, (left, right) = equation.params, (atom.aval.shape for atom in equation.invars)
    numbers, value = params["dimension_numbers"], values[0]
    if values[1] is not None:
        return unknown(equation, values)
    for index, axis in enumerate(numbers.lhs_spec[2:]):
        value = _windowed(
            value,
            axis,
            left,
            right[numbers.rhs_spec[2 + index]],
            params["window_strides"][index],
            params["padding"][index][0],
            params["lhs_dilation"][index],
            params["rhs_dilation"][index],
        )
    value = _spread(value, [numbers.lhs_spec[1]], left)
    batch, _, *spatial = numbers.lhs_spec
    out_batch, _, *out_spatial = numbers.out_spec
    return [_moved(value, {batch: out_batch, **dict(zip(spatial, out_spatial, strict=True))})]


def dot_general(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    contracting, batches = equation.params["dimension_numbers"]
    place = len(batches[0])
    results = []
    for side in (0, 1):
        aval = equation.invars[side].aval
        places = {axis: index for index, axis in enumerate(batches[side])}
        for axis in range(aval.ndim):
            if axis not in places and axis not in contracting[side]:
                places[axis] = place
                place += 1
        results.append(_moved(_spread(values[side], contracting[side], aval.shape), places))
    return [united(results, equation.outvars[0].aval.shape)]


def reshape(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    old, new = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    value = values[0]
    if equation.params.get("dimensions") is not None or 0 in old:
        return unknown(equation, values)
    groups = list(_groups(old, new))
    return [_map(value, lambda view: _reshaped(view, old, new, groups))]


def unknown(equation: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """For an operation without a rule: nothing is known of what comes after it."""
    present = next((value for value in values if value is not None), None)
    if present is None:
        return [None] * len(equation.outvars)
    nothing = tuple(View({}, 0, 0, view.low, view.high, known=False) for view in present)
    return [nothing] * len(equation.outvars)


def _map(value: Value, change: Callable[[View], View]) -> Value:
    return None if value is None else tuple(map(change, value))


def _moved(value: Value, places: dict[int, int]) -> Value:
    return _map(value, lambda view: view.moved(places))


def _along(value: Value, axis: int, shape: Shape, *reading: int) -> Value:
    return _map(value, lambda view: view.along(axis, shape, *reading))


def _spread(value: Value, axes: Sequence[int], shape: Shape) -> Value:
    for axis in axes:
        value = _map(value, lambda view, axis=axis: view.spread(axis, shape))
    return value


def _placed(view: View, axis: int, start: int) -> View:
    """A view of a piece, told by the index in the whole, which is `start` more."""
    return dataclasses.replace(view, offset=view.offset - view.strides.get(axis, 0) * start)


def _windowed(
    value: Value, axis: int, shape: Shape, taps: int, step: int, padding: int, dilation: int, gap: int
) -> Value:
    if dilation != 1:
        value = _map(value, lambda view: view.lost(axis))
    return _along(value, axis, shape, -padding, step, taps, gap)


def _without(rank: int, axes: Sequence[int]) -> dict[int, int]:
    return {axis: place for place, axis in enumerate(axis for axis in range(rank) if axis not in axes)}


def _groups(old: Shape, new: Shape) -> Any:
    """Pairs of runs of axes, (old, new), with the same number of entries."""
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(first), j + len(second)
        while (a := np.prod([old[axis] for axis in first], dtype=int)) != (
            b := np.prod([new[axis] for axis in second], dtype=int)
        ):
            if a < b:
                first.append(i)
                i += 1
            else:
                second.append(j)
                j += 1
        yield first, second


def _reshaped(view: View, old: Shape, new: Shape, groups: Sequence[tuple[list[int], list[int]]]) -> View:
    """The view after a reshape, from where each entry's window begins before and after it."""
    loose = {axis for first, second in groups if view.loose & {*first} for axis in second if new[axis] > 1}
    result = dataclasses.replace(view, strides={}, loose=frozenset(loose))
    for first, second in groups:
        if any(axis in view.strides for axis in first):
            begins = sum(
                view.strides.get(axis, 0) * index
                for axis, index in zip(first, np.indices([old[axis] for axis in first]), strict=True)
            )
            result = _beginning(result, np.reshape(begins, [new[axis] for axis in second]), second)
    return result


def _beginning(view: View, begins: np.ndarray, axes: Sequence[int]) -> View:
    """Let the windows begin later, by `begins`, whose axes are `axes` of the value.

    What moves by equal steps along an axis becomes a stride, what is left is a larger window.
    """
    strides = dict(view.strides)
    for place, axis in enumerate(axes):
        steps = np.diff(begins, axis=place)
        if steps.size and steps.any() and (steps == steps.flat[0]).all():
            strides[axis] = strides.get(axis, 0) + int(steps.flat[0])
            begins = begins - steps.flat[0] * np.indices(begins.shape)[place]
    varying = {axis for place, axis in enumerate(axes) if np.ptp(begins, axis=place).any()}
    return dataclasses.replace(
        view,
        strides=strides,
        offset=view.offset + int(begins.min()),
        size=view.size + int(np.ptp(begins)),
        loose=view.loose | varying,
    )


def gather(equation: JaxprEqn, values: Sequence[Value], indices: np.ndarray | None) -> list[Value]:
    """Indexing at places that the program fixes, which is also what a slice with steps may become.

    Args:
        equation: a gather.
        values: what its operands see.
        indices: its second operand; None when it is not fixed.
    """
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    if values[0] is None or indices is None or numbers.operand_batching_dims:
        return unknown(equation, values)
    shape, rank = equation.invars[0].aval.shape, equation.outvars[0].aval.ndim
    around = [axis for axis in range(rank) if axis not in numbers.offset_dims]
    kept = [axis for axis in range(len(shape)) if axis not in numbers.collapsed_slice_dims]
    places = dict(zip(kept, numbers.offset_dims, strict=True))

    def gathered(view: View) -> View:
        low, high = view.hull(shape)
        result = dataclasses.replace(view.moved(places), low=low, high=high)
        for index, axis in enumerate(numbers.start_index_map):
            begins = np.clip(indices[..., index], 0, shape[axis] - sizes[axis]).astype(int)
            if axis in view.strides:
                result = _beginning(result, np.asarray(view.strides[axis] * begins), around)
            elif axis in view.loose:
                result = dataclasses.replace(result, loose=result.loose | {*around})
        return result

    return [_map(values[0], gathered)]


UNARY_AND_BINARY = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz conj
    convert_element_type copy copy_p cos cosh device_put digamma div eq erf erf_inv erfc exp exp2 expm1 floor
    ge gt igamma igammac imag integer_pow is_finite le lgamma log log1p logistic lt max min mul name ne neg
    nextafter not or population_count pow real reduce_precision rem round rsqrt select_n sharding_constraint
    shift_left shift_right_arithmetic shift_right_logical sign sin sinh site sqrt square stop_gradient sub tan
    tanh xor
""".split()

RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY_AND_BINARY, elementwise),
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"), reduction
    ),
    **dict.fromkeys(("argmax", "argmin"), reduction),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), cumulative),
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min"), reduce_window),
    **dict.fromkeys(("psum", "pmax", "pmin"), collective),
    "optimization_barrier": each,
    "broadcast_in_dim": broadcast_in_dim,
    "transpose": transpose,
    "squeeze": squeeze,
    "sort": sort,
    "concatenate": concatenate,
    "split": split,
    "slice": slice_,
    "dynamic_slice": dynamic_slice,
    "pad": pad,
    "rev": reverse,
    "conv_general_dilated": convolution,
    "dot_general": dot_general,
    "reshape": reshape,
}
"""Operations by name. Any other makes what comes after it unknown."""
