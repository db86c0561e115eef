"""Programs without marks, for equations that are emitted as they are."""

from __future__ import annotations

from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from pwact.core.probe.marks import site_p


def unmarked(jaxpr: Jaxpr) -> Jaxpr:
    """The same program without identity equations, at any depth."""
    values: dict[Var, Any] = {}

    def read(atom: Any) -> Any:
        return atom if isinstance(atom, Literal) else values.get(atom, atom)

    equations = []
    for equation in jaxpr.eqns:
        invars = [read(atom) for atom in equation.invars]
        if equation.primitive is site_p:
            values[equation.outvars[0]] = invars[0]
        else:
            equations.append(equation.replace(invars=invars, params=unmarked_params(equation.params)))
    return jaxpr.replace(eqns=equations, outvars=[read(atom) for atom in jaxpr.outvars])


def unmarked_params(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an equation, the programs among them without marks."""
    if "unmarked" in params:
        return params["unmarked"]
    return {name: _unmarked_value(value) for name, value in params.items()}


def _unmarked_value(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return ClosedJaxpr(unmarked(value.jaxpr), value.consts)
    if isinstance(value, Jaxpr):
        return unmarked(value)
    if type(value) in (tuple, list):
        return type(value)(map(_unmarked_value, value))
    return value
