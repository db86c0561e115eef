"""From candidates to names: what is left out, what is one value, how repetitions are numbered."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from jax.extend.core import Var

from pwact.core.probe.candidates import Candidate
from pwact.core.probe.marks import Call
from pwact.core.probe.scopes import Frames, key_of

Key = tuple[int, ...]

FIRST = ("input", "output", "module", "author")
"""Kinds that are never left out, and whose names do not move when an operation has the same."""

WEIGHTED = ("conv", "dot")
"""Operations after which a scope that holds just one of them is called."""


@dataclasses.dataclass(frozen=True)
class NamedValue:
    """One value of a program and its names, the first of which is the most specific."""

    candidate: Candidate
    variable: Var
    names: tuple[str, ...]


def named_values(found: Sequence[Candidate], carriers: dict[Var, Var]) -> list[NamedValue]:
    """Choose among the candidates and name each value; a name's second occurrence is `name@2`.

    Args:
        found: candidates in program order.
        carriers: for a value that goes on under another variable, that variable.
    """

    def carrier(var: Var) -> Var:
        while var in carriers:
            var = carriers[var]
        return var

    kept = _without_covered(_without_hidden(found), carrier)
    values: dict[Var, list[Candidate]] = defaultdict(list)
    for candidate in kept:
        group = values[carrier(candidate.variable)]
        if all(candidate.name != other.name for other in group):
            group.append(candidate)
    for var, group in values.items():
        nested = {f"{other.name}.{other.operation}" for other in group}
        values[var] = sorted((c for c in group if c.name not in nested), key=lambda c: c.kind != "author")

    numbered = _numbered([candidate for group in values.values() for candidate in group])
    return [
        NamedValue(group[0], var, tuple(numbered[id(candidate)] for candidate in group))
        for var, group in values.items()
    ]


def _numbered(ordered: Sequence[Candidate]) -> dict[int, str]:
    counts: Counter[str] = Counter()
    names: dict[int, str] = {}
    for candidate in sorted(ordered, key=_precedence):
        counts[candidate.name] += 1
        count = counts[candidate.name]
        names[id(candidate)] = candidate.name if count == 1 else f"{candidate.name}@{count}"
    return names


def _precedence(candidate: Candidate) -> int:
    """Who gets a name without a number: the model's ends, then its modules and its author, then the rest."""
    return 0 if candidate.kind in ("input", "output") else 1 if candidate.kind in FIRST else 2


def _without_hidden(found: Sequence[Candidate]) -> list[Candidate]:
    """Leave out what lies inside functions of a library, and inside its modules that call no others."""
    composite = {
        key_of(candidate.frames[:depth])
        for candidate in found
        if candidate.kind == "module"
        for depth in range(1, len(candidate.frames) + 1)
    }

    def hides(frames: Frames, kind: str) -> bool:
        call = Call.parse(frames[-1].name)
        if call is None or not call.library:
            return False
        return call.kind in ("function", "inlined") or kind == "operation" or key_of(frames) not in composite

    return [
        candidate
        for candidate in found
        if candidate.kind in FIRST
        or not any(
            hides(candidate.frames[:depth], candidate.kind) for depth in range(1, len(candidate.frames) + 1)
        )
    ]


def _without_covered(found: Sequence[Candidate], carrier: Callable[[Var], Var]) -> list[Candidate]:
    """Leave out the only operation of a call or scope that its result speaks for.

    That is a convolution or a product, whose result differs by a bias, and an operation that is the result.
    """
    named: dict[Key, set[Var]] = defaultdict(set)
    for candidate in found:
        if candidate.own is not None:
            named[key_of((*candidate.frames, candidate.own))].add(carrier(candidate.variable))
    inside: dict[Key, list[Candidate]] = defaultdict(list)
    for candidate in found:
        inside[key_of(candidate.frames)].append(candidate)
    covered = {
        key: members[0]
        for key, members in inside.items()
        if key in named
        and len(members) == 1
        and members[0].kind == "operation"
        and (members[0].operation in WEIGHTED or carrier(members[0].variable) in named[key])
    }
    dropped = {id(candidate) for candidate in covered.values()}
    kept = []
    for candidate in found:
        inner = covered.get(key_of((*candidate.frames, candidate.own)))
        if candidate.kind == "scope" and inner is not None and inner.operation in WEIGHTED:
            candidate = dataclasses.replace(candidate, operation=inner.operation)
        if id(candidate) not in dropped:
            kept.append(candidate)
    return kept
