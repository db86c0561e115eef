"""The values of a program that a researcher would point at, each with the name of what produced it."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Var
from jax.extend.source_info_util import new_name_stack

from pwact.core.probe.marks import Call, site_p
from pwact.core.probe.normal_form import bodies
from pwact.core.probe.operations import named_operation
from pwact.core.probe.values import variables

Frames = tuple[Any, ...]
"""The scopes around an equation, outermost first. Each call has scope objects of its own."""


Readers = Mapping[Var, list[JaxprEqn]]
"""For each variable the equations that read it."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A value that may become a site.

    Args:
        variable: the value.
        name: its dotted name before repetitions are numbered.
        operation: what produced it.
        frames: the scopes it lies in; for a call's result, those around the call.
        own: for a call's result or a scope's, the scope itself.
        kind: "module", "function", "scope", "operation", or "author" for a `checkpoint_name`.
        context: the loops and branches around it.
    """

    variable: Var
    name: str
    operation: str
    frames: Frames
    kind: str
    context: Context
    own: Any = None


@dataclasses.dataclass(frozen=True)
class Context:
    """Where in the control flow a value lies: lengths of the scans around it, the condition in words."""

    loops: tuple[int, ...] = ()
    when: str = ""
    editable: bool = True

    def inside(self, equation: JaxprEqn, branch: int) -> Context:
        """The context in a body of an equation."""
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return Context(
                (*self.loops, params["length"]),
                _joined(self.when, f"scan of {params['length']}"),
                self.editable,
            )
        if name == "while":
            return Context(self.loops, _joined(self.when, "while, last turn"), False)
        if name == "cond":
            return Context(
                self.loops, _joined(self.when, f"branch {branch} of {len(params['branches'])}"), self.editable
            )
        return self


def _joined(outer: str, inner: str) -> str:
    return f"{outer}, {inner}" if outer else inner


def candidates(jaxpr: Jaxpr, dependent: Collection[Var]) -> list[Candidate]:
    """Every candidate of a program, in the order in which the values come about."""
    return list(_walk(jaxpr, dependent, (), Context()))


def path_of(frames: Frames) -> str:
    """The dotted path that a stack of scopes says.

    A module's scope holds its whole path from its root, functions and an author's scopes one part each.
    A root of another framework nests where it is called.
    """
    base: list[str] = []
    path: list[str] = []
    kind = None
    for frame in frames:
        call = Call.parse(frame.name)
        if call is None or call.kind in ("function", "inlined"):
            path = [*path, call.name if call else frame.name]
            continue
        if call.kind != kind:
            base, kind = path, call.kind
        path = [*base, call.name] if call.name else base
    return ".".join(path)


def _walk(jaxpr: Jaxpr, dependent: Collection[Var], outer: Frames, context: Context) -> Iterator[Candidate]:
    readers: dict[Var, list[JaxprEqn]] = defaultdict(list)
    for equation in jaxpr.eqns:
        for var in variables(equation.invars):
            readers[var].append(equation)
    endings = _scope_endings(jaxpr, readers, dependent)
    marks = [equation for equation in jaxpr.eqns if equation.primitive is site_p]
    returned = Counter(id(scopes(mark)[-1]) for mark in marks if mark.outvars[0] in dependent)
    for index, equation in enumerate(jaxpr.eqns):
        frames = outer + scopes(equation)
        if equation.primitive is site_p:
            yield from _of_mark(equation, frames, returned, dependent, context)
        else:
            yield from _of_equation(equation, frames, readers, dependent, context)
        for branch, body in enumerate(bodies(equation)):
            inner = frames
            if equation.primitive.name == "cond":
                inner = (*frames, *new_name_stack(f"cond.branch{branch}").stack)
            yield from _walk(body.jaxpr, dependent, inner, context.inside(equation, branch))
        for local, results in endings[index]:
            for place, var in enumerate(results):
                suffix = f"[{place}]" if len(results) > 1 else ""
                around, call = outer + local, Call.parse(local[-1].name)
                kind = "function" if call else "scope"
                operation = call.name if call else local[-1].name.rpartition(".")[2]
                yield Candidate(
                    var, path_of(around) + suffix, operation, around[:-1], kind, context, around[-1]
                )


def _of_equation(
    equation: JaxprEqn, frames: Frames, readers: Readers, dependent: Collection[Var], context: Context
) -> Iterator[Candidate]:
    path = path_of(frames)
    if equation.primitive.name == "name":
        yield Candidate(
            equation.outvars[0], equation.params["name"], "checkpoint_name", frames, "author", context
        )
    elif found := named_operation(equation, readers, dependent):
        operation, var = found
        yield Candidate(
            var, ".".join(filter(None, (path, operation))), operation, frames, "operation", context
        )


def _of_mark(
    equation: JaxprEqn, frames: Frames, returned: Counter[int], dependent: Collection[Var], context: Context
) -> Iterator[Candidate]:
    """What a call returned. A function's only result that depends on the images needs no index."""
    (var,), own, path = equation.outvars, frames[-1], path_of(frames)
    call = Call.parse(own.name)
    is_function = call is not None and call.kind == "function"
    suffix = "" if is_function and returned[id(own)] == 1 else equation.params["leaf"]
    if path and (var in dependent or not is_function):
        kind = "function" if is_function else "module"
        yield Candidate(var, path + suffix, equation.params["operation"], frames[:-1], kind, context, own)


def scopes(equation: JaxprEqn) -> Frames:
    """The scopes that an equation itself carries: no transformations (`vmap`), no einsum formulas."""
    return tuple(
        entry
        for entry in equation.source_info.name_stack.stack
        if type(entry).__name__ == "Scope" and "->" not in entry.name
    )


def _scope_endings(
    jaxpr: Jaxpr, readers: Readers, dependent: Collection[Var]
) -> dict[int, list[tuple[Frames, list[Var]]]]:
    """For each author's scope: after which equation it ends, and the values that leave it."""
    members: dict[tuple[int, ...], list[int]] = defaultdict(list)
    frames_of: dict[tuple[int, ...], Frames] = {}
    for index, equation in enumerate(jaxpr.eqns):
        local = scopes(equation)
        for depth, frame in enumerate(local, 1):
            call = Call.parse(frame.name)
            if call is None or call.kind == "inlined":
                key = tuple(map(id, local[:depth]))
                members[key].append(index)
                frames_of[key] = local[:depth]
    endings: dict[int, list[tuple[Frames, list[Var]]]] = defaultdict(list)
    results = set(variables(jaxpr.outvars))
    for key, indices in members.items():
        inside = {id(jaxpr.eqns[index]) for index in indices}
        leaving = [
            var
            for index in indices
            for var in jaxpr.eqns[index].outvars
            if var in dependent
            and (var in results or any(id(reader) not in inside for reader in readers[var]))
        ]
        endings[indices[-1]].append((frames_of[key], leaving))
    for ended in endings.values():
        ended.sort(key=lambda item: -len(item[0]))
    return endings
