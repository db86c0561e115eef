"""A traced model in normal form: nested calls written out, every variable bound exactly once.

Because a variable is bound once, it identifies one value of the whole program, however deep: a site is
a variable. A function that is called twice is written twice.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

import flax
import jax
from flax import linen
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, new_jaxpr_eqn
from jax.extend.source_info_util import NameStack, new_name_stack

from pwact.core.probe.marks import Call, site_p
from pwact.core.probe.unmarked import unmarked_params

Atom = Any
"""A variable or a literal."""

TRANSPARENT = frozenset({"jit", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call"})
"""Equations that compute their body once and in place, so that the body can stand in for the equation."""

STRUCTURED = TRANSPARENT | {"scan", "while", "cond"}
"""Equations whose bodies hold sites. Every other equation is left as it is."""

JAX, FLAX = (os.path.dirname(module.__file__ or "") + os.sep for module in (jax, flax))

FUNCTION_FILES = {inspect.getsourcefile(inspect.unwrap(example)) for example in (jax.nn.gelu, linen.avg_pool)}
"""Where libraries keep the functions that networks are made of; jax inlines some (`gelu`, `softmax`)."""


def normal_form(jaxpr: Jaxpr) -> Jaxpr:
    """Write nested calls out, mark what they return, and bind every variable once.

    Args:
        jaxpr: a program as jax traced it. Its constants become its first inputs.
    """
    closed = ClosedJaxpr(jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars]), ())
    return _normal_body(closed, is_model=True).jaxpr


def bodies(equation: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """The programs inside an equation in which sites may lie."""
    if equation.primitive.name not in STRUCTURED:
        return ()
    params = equation.params
    found = params.get("branches") or (
        params.get("body_jaxpr") or params.get("call_jaxpr") or params["jaxpr"],
    )
    return tuple(body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ()) for body in found)


def variables_of(body: ClosedJaxpr) -> Iterator[Var]:
    """Every variable that a program binds, at any depth."""
    yield from body.jaxpr.invars
    for equation in body.jaxpr.eqns:
        yield from equation.outvars
        yield from variables_inside(equation)


def variables_inside(equation: JaxprEqn) -> Iterator[Var]:
    """Every variable that the bodies of an equation bind, at any depth."""
    for body in bodies(equation):
        yield from variables_of(body)


def captured_shape(jaxpr: Jaxpr, var: Var) -> tuple[int, ...]:
    """The shape of a variable's captured value, with an axis for each scan around it first."""
    for equation in jaxpr.eqns:
        for body in bodies(equation):
            if var in set(variables_of(body)):
                turns = (equation.params["length"],) if equation.primitive.name == "scan" else ()
                return *turns, *captured_shape(body.jaxpr, var)
    return var.aval.shape


def _normal_body(body: ClosedJaxpr, is_model: bool = False) -> ClosedJaxpr:
    invars = [Var(var.aval) for var in body.jaxpr.invars]
    equations: list[JaxprEqn] = []
    outvars = _write(body, invars, new_name_stack(), equations, is_model)
    return ClosedJaxpr(body.jaxpr.replace(constvars=[], invars=invars, outvars=outvars, eqns=equations), ())


def _write(
    body: ClosedJaxpr,
    args: Sequence[Atom],
    stack: NameStack,
    equations: list[JaxprEqn],
    is_model: bool = False,
) -> list[Atom]:
    """Append the equations of `body` to `equations` and return its results.

    A model that is itself a `jit` of a function gives that function's name to nothing.
    """
    env: dict[Var, Atom] = dict(zip(body.jaxpr.invars, args, strict=True))
    for var, value in zip(body.jaxpr.constvars, body.consts, strict=True):
        env[var] = Literal(value, var.aval)

    def read(atom: Atom) -> Atom:
        return atom if isinstance(atom, Literal) else env[atom]

    inlined, scopes = _Inlined(), _Scopes()
    is_whole = is_model and len(body.jaxpr.eqns) == 1
    for equation in body.jaxpr.eqns:
        invars = [read(atom) for atom in equation.invars]
        call = None if is_whole else _function_call(equation)
        scope = stack + scopes.own(equation.source_info.name_stack) + inlined.scope_of(equation)
        scope = scope.extend(call.label) if call else scope
        source = equation.source_info.replace(name_stack=scope)
        if _is_plain_call(equation):
            (inner,) = bodies(equation)
            results = _write(inner, invars, scope, equations, is_whole)
        else:
            results = [Var(var.aval) for var in equation.outvars]
            params = _normal_params(equation)
            equations.append(
                equation.replace(invars=invars, outvars=results, params=params, source_info=source)
            )
        if call:
            suffixes = _result_suffixes(bodies(equation)[0], len(results))
            marks = [Var(result.aval) for result in results]
            for result, mark, leaf in zip(results, marks, suffixes, strict=True):
                params = {"operation": call.name, "leaf": leaf}
                equations.append(new_jaxpr_eqn([result], [mark], site_p, params, set(), source, equation.ctx))
            results = marks
        env.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _normal_params(equation: JaxprEqn) -> dict[str, Any]:
    """Parameters with bodies in normal form. `unmarked` are those to bind when nothing inside matters."""
    if equation.primitive.name not in STRUCTURED:
        return unmarked_params(equation.params)
    params = dict(equation.params)
    for name, value in params.items():
        if isinstance(value, ClosedJaxpr):
            params[name] = _normal_body(value)
        elif isinstance(value, Jaxpr):
            params[name] = _normal_body(ClosedJaxpr(value, ())).jaxpr
        elif name == "branches":
            params[name] = tuple(_normal_body(branch) for branch in value)
    return {**params, "unmarked": unmarked_params(params)}


def _is_plain_call(equation: JaxprEqn) -> bool:
    """Whether an equation is a nested `jit` that asks for nothing of the compiler."""
    if equation.primitive.name != "jit":
        return False
    params = equation.params
    shardings = (*params["in_shardings"], *params["out_shardings"])
    layouts = (*params["in_layouts"], *params["out_layouts"])
    return (
        all(type(sharding).__name__ == "UnspecifiedValue" for sharding in shardings)
        and all(layout is None for layout in layouts)
        and not params["compiler_options_kvs"]
    )


def _function_call(equation: JaxprEqn) -> Call | None:
    """The call that a nested `jit`, `custom_jvp` or `custom_vjp` of a function with a public name is."""
    if equation.primitive.name not in ("jit", "custom_jvp_call", "custom_vjp_call"):
        return None
    name, _, place = bodies(equation)[0].jaxpr.debug_info.func_src_info.partition(" at ")
    name = (equation.params.get("name") or name).rpartition(".")[2]
    file = place.rpartition(":")[0]
    is_wrapper = file.startswith(FLAX) and file not in FUNCTION_FILES
    if is_wrapper or name.startswith("_") or not name.isidentifier():
        return None
    return Call("function", file.startswith(JAX) or file in FUNCTION_FILES, name)


class _Scopes:
    """Gives one writing of a body scope objects of its own, by which its call is told from others."""

    def __init__(self) -> None:
        self.copies: dict[int, Any] = {}

    def own(self, stack: NameStack) -> NameStack:
        """The stack with every scope replaced by its copy."""
        for scope in stack.stack:
            self.copies.setdefault(id(scope), type(scope)(scope.name))
        return NameStack(tuple(self.copies[id(scope)] for scope in stack.stack))


class _Inlined:
    """Reads from tracebacks which equations one call of an inlined library function left."""

    def __init__(self) -> None:
        self.call: Any = None
        self.scope = NameStack()

    def scope_of(self, equation: JaxprEqn) -> NameStack:
        """A scope for the call, the same for each of its equations; empty outside such calls."""
        traceback = equation.source_info.traceback
        frames: Any = traceback.raw_frames() if traceback else ([], [])
        codes, places = frames
        depths = [
            depth
            for depth, code in enumerate(codes)
            if code.co_filename in FUNCTION_FILES and code.co_name.isidentifier()
        ]
        if not depths:
            self.call = None
            return NameStack()
        name, around = codes[depths[-1]].co_name, depths[-1] + 1
        call = (name, tuple(map(id, codes[around:])), tuple(places[around:]))
        if call != self.call:
            self.call = call
            self.scope = new_name_stack(Call("inlined", True, name).label)
        return self.scope


def _result_suffixes(body: ClosedJaxpr, number: int) -> list[str]:
    if number == 1:
        return [""]
    return [f"[{index}]" for index in range(number)]
