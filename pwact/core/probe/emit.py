"""A program emitted again, equation by equation, while values are captured and edited on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import source_info_util
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from pwact.core.probe.marks import site_p
from pwact.core.probe.normal_form import Atom, bodies, variables_inside, variables_of
from pwact.core.probe.values import variables

Values = dict[Var, Any]
Edit = Callable[[Any], Any]


class Emission:
    """What to take and what to change while a program is emitted.

    Args:
        captures: variables whose values are wanted. One inside a loop gets a leading axis for each loop.
        edits: variables whose value is replaced by a function of it, for every later reader.
        taps: for variables a zero like the captured value, beside which the value is put: no number changes,
            and the derivative in the zero is that in the value.
    """

    def __init__(
        self,
        captures: Collection[Var] = (),
        edits: Mapping[Var, Edit] | None = None,
        taps: Mapping[Var, Any] | None = None,
    ):
        self.captures = tuple(captures)
        self.edits = dict(edits or {})
        self.taps = dict(taps or {})

    def emit(
        self,
        jaxpr: Jaxpr,
        args: Sequence[Any],
        *,
        inputs: Sequence[Var] | None = None,
        outputs: Sequence[Atom] | None = None,
    ) -> tuple[list[Any], Values]:
        """Compute `outputs` from `inputs`, and the captures, and nothing else.

        Args:
            jaxpr: a program in normal form.
            args: a value for each input.
            inputs: variables that are given and need not be computed; by default the program's inputs.
            outputs: by default those of the program, and then its side effects are kept.

        Returns:
            The outputs, and the captured values.
        """
        inputs = jaxpr.invars if inputs is None else inputs
        effects, outputs = outputs is None, jaxpr.outvars if outputs is None else outputs
        env: Values = {}

        def write(var: Var, value: Any) -> None:
            if var not in env:
                value = self.edits[var](value) if var in self.edits else value
                env[var] = beside(value, self.taps[var]) if var in self.taps else value

        def read(atom: Atom) -> Any:
            return atom.val if isinstance(atom, Literal) else env[atom]

        captured: Values = {}
        for var, value in zip(inputs, args, strict=True):
            write(var, value)
        for equation in needed(jaxpr, {*variables(outputs), *self.captures}, inputs, effects=effects):
            with context_of(equation):
                results, inner = self.equation(equation, [read(atom) for atom in equation.invars])
            captured |= inner
            for var, value in zip(equation.outvars, results, strict=True):
                write(var, value)
        captured |= {var: env[var] for var in self.captures if var in env}
        return [read(atom) for atom in outputs], captured

    def equation(self, equation: JaxprEqn, values: list[Any]) -> tuple[Sequence[Any], Values]:
        """One equation's results, and what was captured inside it."""
        if equation.primitive is site_p:
            return values, {}
        inside = set(variables_inside(equation))
        captures = [var for var in self.captures if var in inside]
        edited, tapped = (not inside.isdisjoint(changed) for changed in (self.edits, self.taps))
        if not (captures or edited or tapped):
            return _bind(equation, values), {}
        if equation.primitive.name in _CONTROL:
            return _CONTROL[equation.primitive.name](self, equation, values, captures)
        (body,) = bodies(equation)
        if edited or not equation.primitive.name.startswith("custom_"):
            return self.emit(body.jaxpr, values)
        # The results keep their own derivative rule; what is captured is computed beside them, and the
        # derivative in what is tapped is that of the body.
        results = _bind(equation, values)
        if not tapped:
            return results, self.emit(body.jaxpr, values, outputs=())[1]
        inner, captured = self.emit(body.jaxpr, list(map(lax.stop_gradient, values)))
        return [beside(*pair) for pair in zip(results, inner, strict=True)], captured


def beside(value: Any, other: Any) -> Any:
    """The first of two values, bit by bit, with the derivatives of both."""
    return _beside(value, other) if jnp.issubdtype(value.dtype, jnp.inexact) else value


@jax.custom_jvp
def _beside(value: Any, other: Any) -> Any:
    return value


@_beside.defjvp
def _beside_rule(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return primals[0], tangents[0] + tangents[1]


def needed(
    jaxpr: Jaxpr, wanted: Collection[Var], given: Collection[Var], *, effects: bool = False
) -> list[JaxprEqn]:
    """The equations without which `wanted` cannot be computed from `given`, in order."""
    given = set(given)
    missing = set(wanted) - given
    kept = []
    for equation in reversed(jaxpr.eqns):
        if (
            not missing.isdisjoint(equation.outvars)
            or not missing.isdisjoint(variables_inside(equation))
            or (effects and equation.effects)
        ):
            kept.append(equation)
            missing.update(set(variables(equation.invars)) - given)
    return kept[::-1]


@contextlib.contextmanager
def context_of(equation: JaxprEqn) -> Iterator[None]:
    """The name stack and traceback of an equation, and the settings that its author made for it.

    An equation that was traced without settings takes those of the caller, such as a mesh.
    """
    source, settings = equation.source_info, equation.ctx
    stack = source_info_util.current_name_stack() + source.name_stack
    is_plain = settings.cur_abstract_mesh.empty and not (settings.compute_type or settings.xla_metadata)
    with (
        source_info_util.user_context(source.traceback, name_stack=stack),
        contextlib.nullcontext() if is_plain else settings.manager,
    ):
        yield


def _bind(equation: JaxprEqn, values: list[Any]) -> Sequence[Any]:
    params = equation.primitive.get_bind_params(equation.params.get("unmarked", equation.params))
    results = equation.primitive.bind(*values, **params)
    return results if equation.primitive.multiple_results else [results]


def _remat(
    emission: Emission, equation: JaxprEqn, values: list[Any], captures: list[Var]
) -> tuple[list, Values]:
    (body,) = bodies(equation)

    def run(*args: Any) -> tuple[list[Any], list[Any]]:
        results, captured = emission.emit(body.jaxpr, args)
        return results, [captured[var] for var in captures]

    options = {name: equation.params[name] for name in ("prevent_cse", "policy")}
    results, captured = jax.checkpoint(run, **options)(*values)
    return results, dict(zip(captures, captured, strict=True))


def _scan(
    emission: Emission, equation: JaxprEqn, values: list[Any], captures: list[Var]
) -> tuple[list, Values]:
    params = equation.params
    (body,) = bodies(equation)
    constants, start, xs = _split(values, params["num_consts"], params["num_carry"])

    inside = set(variables_of(body))
    taps = [var for var in emission.taps if var in inside]

    def step(carry: list[Any], x: tuple[list[Any], list[Any]]) -> tuple[list[Any], Any]:
        turn = Emission(
            emission.captures, emission.edits, {**emission.taps, **dict(zip(taps, x[1], strict=True))}
        )
        results, captured = turn.emit(body.jaxpr, [*constants, *carry, *x[0]])
        carry, ys = _split(results, params["num_carry"])
        return carry, (ys, [captured[var] for var in captures])

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    carry, (ys, stacked) = lax.scan(step, start, (xs, [emission.taps[var] for var in taps]), **options)
    return [*carry, *ys], dict(zip(captures, stacked, strict=True))


def _while(
    emission: Emission, equation: JaxprEqn, values: list[Any], captures: list[Var]
) -> tuple[list, Values]:
    params = equation.params
    (body,) = bodies(equation)
    test_constants, constants, start = _split(values, params["cond_nconsts"], params["body_nconsts"])

    def test(state: tuple[list[Any], Any]) -> Any:
        return Emission().emit(params["cond_jaxpr"].jaxpr, [*test_constants, *state[0]])[0][0]

    def step(state: tuple[list[Any], Any]) -> tuple[list[Any], Any]:
        results, captured = emission.emit(body.jaxpr, [*constants, *state[0]])
        return results, [captured[var] for var in captures]

    shapes = jax.eval_shape(step, (start, None))[1]
    results, last = lax.while_loop(test, step, (start, _zeros(shapes)))
    return results, dict(zip(captures, last, strict=True))


def _cond(
    emission: Emission, equation: JaxprEqn, values: list[Any], captures: list[Var]
) -> tuple[list, Values]:
    index, *operands = values
    owned = [[var for var in captures if var in set(variables_of(body))] for body in bodies(equation)]

    def run(branch: int, *args: Any) -> tuple[list[Any], list[Any]]:
        results, captured = emission.emit(bodies(equation)[branch].jaxpr, args)
        return results, [captured[var] for var in owned[branch]]

    shapes: Values = {}
    for branch, names in enumerate(owned):
        shapes |= zip(names, jax.eval_shape(partial(run, branch), *operands)[1], strict=True)

    def run_padded(branch: int, *args: Any) -> tuple[list[Any], list[Any]]:
        results, captured = run(branch, *args)
        known = dict(zip(owned[branch], captured, strict=True))
        return results, [known[var] if var in known else _zeros(shapes[var]) for var in captures]

    branches = [partial(run_padded, branch) for branch in range(len(owned))]
    results, captured = lax.switch(index, branches, *operands)
    return results, dict(zip(captures, captured, strict=True))


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda struct: jnp.zeros(struct.shape, struct.dtype), shapes)


def _split(values: Sequence[Any], *sizes: int) -> list[list[Any]]:
    parts = []
    for size in sizes:
        parts.append(list(values[:size]))
        values = values[size:]
    return [*parts, list(values)]


_CONTROL = {"remat2": _remat, "checkpoint": _remat, "scan": _scan, "while": _while, "cond": _cond}
