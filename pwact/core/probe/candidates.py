"""The values of a program that a researcher would point at, each with the name of what produced it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Var
from jax.extend.source_info_util import new_name_stack

from pwact.core.probe.marks import Call, site_p
from pwact.core.probe.normal_form import bodies
from pwact.core.probe.operations import named_operation
from pwact.core.probe.scopes import Frames, ScopeEnd, path_of, readers_of, scope_ends, scopes


@dataclasses.dataclass(frozen=True)
class Context:
    """Where in the control flow a value lies: lengths of the scans around it, the condition in words."""

    loops: tuple[Any, ...] = ()
    when: str = ""
    editable: bool = True

    def inside(self, equation: JaxprEqn, branch: int) -> Context:
        """The context in a body of an equation."""
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return Context(
                (*self.loops, params["length"]), self._and(f"scan of {params['length']}"), self.editable
            )
        if name == "while":
            return Context(self.loops, self._and("while, last turn"), False)
        if name == "cond":
            return Context(
                self.loops, self._and(f"branch {branch} of {len(params['branches'])}"), self.editable
            )
        return self

    def _and(self, inner: str) -> str:
        return f"{self.when}, {inner}" if self.when else inner


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A value that may become a site.

    Args:
        variable: the value.
        name: its dotted name before repetitions are numbered.
        operation: what produced it.
        kind: "input", "output", "module", "function", "scope", "operation", or "author" for a
            `checkpoint_name`.
        context: the loops and branches around it.
        frames: the scopes it lies in; for a call's result, those around the call.
        own: for a call's result or a scope's, the scope itself.
    """

    variable: Var
    name: str
    operation: str
    kind: str
    context: Context = Context()
    frames: Frames = ()
    own: Any = None


def candidates(
    jaxpr: Jaxpr, dependent: Collection[Var], outer: Frames = (), context: Context = Context()
) -> Iterator[Candidate]:
    """Every candidate of a program, in the order in which the values come about.

    Args:
        jaxpr: a program in normal form, or a body in one.
        dependent: the variables whose value depends on the images.
        outer: the scopes around the program.
        context: the loops and branches around it.
    """
    readers, ends = readers_of(jaxpr), scope_ends(jaxpr, dependent)
    marks = [equation for equation in jaxpr.eqns if equation.primitive is site_p]
    returned = Counter(id(scopes(mark)[-1]) for mark in marks if mark.outvars[0] in dependent)
    for index, equation in enumerate(jaxpr.eqns):
        frames = outer + scopes(equation)
        for branch, body in enumerate(() if _is_ragged(equation) else bodies(equation)):
            inner = new_name_stack(f"cond.branch{branch}").stack if equation.primitive.name == "cond" else ()
            yield from candidates(body.jaxpr, dependent, (*frames, *inner), context.inside(equation, branch))
        if equation.primitive is site_p:
            found = _of_mark(equation, frames, dependent, returned)
        elif equation.primitive.name == "name":
            found = _of_author(equation, frames)
        else:
            found = _of_operation(named_operation(equation, readers, dependent), frames)
        for end in ends[index]:
            found = [*found, *_of_scope(end, outer)]
        yield from (dataclasses.replace(candidate, context=context) for candidate in found)


def _is_ragged(equation: JaxprEqn) -> bool:
    """Whether a loop's images stop at different turns, so that none is the last for all."""
    return equation.primitive.name == "while" and bool(equation.params["cond_jaxpr"].out_avals[0].shape)


def _of_mark(
    equation: JaxprEqn, frames: Frames, dependent: Collection[Var], returned: Counter[int]
) -> list[Candidate]:
    """What a call returned. A function's only result that depends on the images needs no index."""
    (var,), operation, suffix = equation.outvars, equation.params["operation"], equation.params["leaf"]
    *around, own = frames
    call = Call.parse(own.name)
    is_function = call is not None and call.kind == "function"
    if is_function and returned[id(own)] == 1:
        suffix = ""
    path = path_of(frames)
    name = path + suffix if path else suffix.removeprefix(".")
    if not (path or suffix.startswith(".")) or (
        var not in dependent and (is_function or suffix.startswith("."))
    ):
        return []
    return [
        Candidate(
            var, name, operation, "function" if is_function else "module", frames=tuple(around), own=own
        )
    ]


def _of_author(equation: JaxprEqn, frames: Frames) -> list[Candidate]:
    """A `checkpoint_name`, which is found by itself and under the path where it was given."""
    (var,), name = equation.outvars, equation.params["name"]
    names = (name, _joined(path_of(frames), name))
    return [Candidate(var, each, "checkpoint_name", "author", frames=frames) for each in names]


def _of_operation(named: tuple[str, Sequence[Var]] | None, frames: Frames) -> list[Candidate]:
    operation, values = named or ("", ())
    name = _joined(path_of(frames), operation)
    return [
        Candidate(var, name + suffix, operation, "operation", frames=frames)
        for suffix, var in _indexed(values)
    ]


def _of_scope(end: ScopeEnd, outer: Frames) -> list[Candidate]:
    *around, own = outer + end.frames
    call = Call.parse(own.name)
    operation, kind = (call.name, "function") if call else (own.name.rpartition(".")[2], "scope")
    return [
        Candidate(var, path_of((*around, own)) + suffix, operation, kind, frames=tuple(around), own=own)
        for suffix, var in _indexed(end.values)
    ]


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _indexed(values: Sequence[Var]) -> Iterator[tuple[str, Var]]:
    """Values with the index that is appended to their common name; a single value needs none."""
    for place, value in enumerate(values):
        yield (f"[{place}]" if len(values) > 1 else ""), value
