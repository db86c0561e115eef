"""Facts about the values of a program: which depend on the images, and which are one and the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from pwact.core.probe.normal_form import TRANSPARENT, Atom, bodies

IDENTITIES = ("site", "name")
"""Primitives whose result is their operand: our mark, and `checkpoint_name`."""


def variables(atoms: Sequence[Atom]) -> Iterator[Var]:
    """The variables among atoms."""
    return (atom for atom in atoms if not isinstance(atom, Literal))


def operands(equation: JaxprEqn, body: Jaxpr) -> list[Atom]:
    """What an equation passes to one of its bodies: its last operands."""
    return equation.invars[len(equation.invars) - len(body.invars) :]


def dependents(jaxpr: Jaxpr, seeds: Collection[Var]) -> set[Var]:
    """Every variable, at any depth, whose value may change with one of the seeds."""
    found = set(seeds)
    for equation in jaxpr.eqns:
        if not found.isdisjoint(variables(equation.invars)):
            found.update(equation.outvars)
        for body in bodies(equation):
            pairs = zip(operands(equation, body.jaxpr), body.jaxpr.invars, strict=True)
            inner = {var for operand, var in pairs if not isinstance(operand, Literal) and operand in found}
            found |= _inner_dependents(equation, body.jaxpr, inner)
    return found


def _inner_dependents(equation: JaxprEqn, body: Jaxpr, seeds: set[Var]) -> set[Var]:
    """The dependents inside a body, whose carry comes round again in a loop."""
    first = {"scan": "num_consts", "while": "body_nconsts"}.get(equation.primitive.name)
    carries = [] if first is None else body.invars[equation.params[first] :]
    if equation.primitive.name == "scan":
        carries = carries[: equation.params["num_carry"]]
    while True:
        found = dependents(body, seeds)
        fed = {
            into
            for into, out in zip(carries, body.outvars, strict=False)
            if out in set(variables([out])) and out in found
        }
        if fed <= seeds:
            return found
        seeds = seeds | fed


def carriers(jaxpr: Jaxpr) -> dict[Var, Var]:
    """For each variable whose value only goes on under another variable: that other variable.

    A value that is read by nothing but a mark, or that is only the result of a call, is one value with two
    names; capturing or editing either is the same.
    """
    found: dict[Var, Var] = {}
    uses = _uses(jaxpr)
    for equation in jaxpr.eqns:
        if equation.primitive.name in IDENTITIES:
            for operand in variables(equation.invars):
                if uses[operand] == 1:
                    found[operand] = equation.outvars[0]
        for body in bodies(equation):
            found |= carriers(body.jaxpr)
            if equation.primitive.name in TRANSPARENT:
                inner_uses = _uses(body.jaxpr)
                for result, outvar in zip(body.jaxpr.outvars, equation.outvars, strict=True):
                    if (
                        not isinstance(result, Literal)
                        and inner_uses[result] == 1
                        and result not in body.jaxpr.invars
                    ):
                        found[result] = outvar
    return found


def _uses(jaxpr: Jaxpr) -> Counter[Var]:
    readers = [atom for equation in jaxpr.eqns for atom in equation.invars]
    return Counter(variables([*readers, *jaxpr.outvars]))
