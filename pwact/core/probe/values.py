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


def dependents(jaxpr: Jaxpr, seeds: Collection[Var]) -> set[Var]:
    """Every variable, at any depth, whose value may change with one of the seeds."""
    found = set(seeds)
    for equation in jaxpr.eqns:
        if bodies(equation):
            found |= _structured_dependents(equation, found)
        elif not found.isdisjoint(variables(equation.invars)):
            found.update(equation.outvars)
    return found


def _structured_dependents(equation: JaxprEqn, found: set[Var]) -> set[Var]:
    """The dependents among an equation's results and inside its bodies."""
    reached: set[Var] = set()
    for body in bodies(equation):
        inner = _body_dependents(equation, body.jaxpr, _bound(equation.invars, body.jaxpr, found))
        pairs = zip(equation.outvars, body.jaxpr.outvars, strict=True)
        reached |= inner | {var for var, result in pairs if not inner.isdisjoint(variables([result]))}
    if equation.primitive.name == "cond" and not found.isdisjoint(variables(equation.invars[:1])):
        reached.update(equation.outvars)
    if equation.primitive.name == "while":
        test, constants = equation.params["cond_jaxpr"].jaxpr, equation.params["cond_nconsts"]
        state = [*equation.invars[:constants], *equation.outvars]
        if not dependents(test, _bound(state, test, found | reached)).isdisjoint(variables(test.outvars)):
            reached.update(equation.outvars)
    return reached


def _bound(operands: Sequence[Atom], body: Jaxpr, found: set[Var]) -> set[Var]:
    """The inputs of a body that are bound to one of the found; it takes the last operands."""
    pairs = zip(operands[len(operands) - len(body.invars) :], body.invars, strict=True)
    return {var for operand, var in pairs if not found.isdisjoint(variables([operand]))}


def _body_dependents(equation: JaxprEqn, body: Jaxpr, seeds: set[Var]) -> set[Var]:
    """The dependents inside a body, whose carry comes round again in a loop."""
    name, params = equation.primitive.name, equation.params
    carries: list[Var] = []
    if name == "scan":
        carries = body.invars[params["num_consts"] :][: params["num_carry"]]
    elif name == "while":
        carries = body.invars[params["body_nconsts"] :]
    while True:
        found = dependents(body, seeds)
        results = body.outvars[: len(carries)]
        fed = {
            var for var, out in zip(carries, results, strict=True) if not found.isdisjoint(variables([out]))
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
