"""The stack of scopes around an equation: what it says as a path, and which values leave a scope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jax.extend.core import Jaxpr, JaxprEqn, Var

from pwact.core.probe.marks import Call
from pwact.core.probe.values import variables

Frames = tuple[Any, ...]
"""Scopes, outermost first. Each call has scope objects of its own, so identity tells calls apart."""

Readers = Mapping[Var, list[JaxprEqn]]
"""For each variable the equations that read it."""


class ScopeEnd(NamedTuple):
    """A scope, and the values computed in it that are read outside of it."""

    frames: Frames
    values: list[Var]


def key_of(frames: Frames) -> tuple[int, ...]:
    """What identifies a stack of scopes."""
    return tuple(map(id, frames))


def scopes(equation: JaxprEqn) -> Frames:
    """The scopes that an equation itself carries: no transformations (`vmap`), no einsum formulas."""
    return tuple(
        entry
        for entry in equation.source_info.name_stack.stack
        if type(entry).__name__ == "Scope" and "->" not in entry.name
    )


def path_of(frames: Frames) -> str:
    """The dotted path that a stack of scopes says.

    A module's scope holds its whole path from its root, functions and an author's scopes one part each.
    The root of another framework nests where it is called.
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


def readers_of(jaxpr: Jaxpr) -> Readers:
    """For each variable the equations of this level that read it."""
    readers: dict[Var, list[JaxprEqn]] = defaultdict(list)
    for equation in jaxpr.eqns:
        for var in variables(equation.invars):
            readers[var].append(equation)
    return readers


def scope_ends(jaxpr: Jaxpr, dependent: Collection[Var]) -> dict[int, list[ScopeEnd]]:
    """The scopes whose results carry no mark, by the equation after which each ends, innermost first."""
    members: dict[tuple[int, ...], list[int]] = defaultdict(list)
    frames_of: dict[tuple[int, ...], Frames] = {}
    for index, equation in enumerate(jaxpr.eqns):
        local = scopes(equation)
        for depth, frame in enumerate(local, 1):
            call = Call.parse(frame.name)
            if call is None or call.kind == "inlined":
                members[key_of(local[:depth])].append(index)
                frames_of[key_of(local[:depth])] = local[:depth]
    readers, results = readers_of(jaxpr), set(variables(jaxpr.outvars))
    ends: dict[int, list[ScopeEnd]] = defaultdict(list)
    for key in sorted(members, key=len, reverse=True):
        inside = {id(jaxpr.eqns[index]) for index in members[key]}
        leaving = [
            var
            for index in members[key]
            for var in jaxpr.eqns[index].outvars
            if var in dependent
            and (var in results or any(id(reader) not in inside for reader in readers.get(var, ())))
        ]
        ends[members[key][-1]].append(ScopeEnd(frames_of[key], leaving))
    return ends
