"""A program that was traced for any number of images, written out for one number."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.export import is_symbolic_dim
from jax.extend import linear_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from pwact.core.probe.dimensions import concrete


def at_batch_size(jaxpr: Jaxpr, batch: Any) -> tuple[Jaxpr, dict[Var, Var]]:
    """Put a number in the place of the symbol, or the symbol itself: then the new program is a copy.

    Returns:
        The program for `batch` images, and for each variable of the old program that of the new.
    """
    writer = _Substitution(batch)
    return writer.jaxpr(jaxpr), writer.variables


class _Substitution:
    def __init__(self, batch: Any):
        self.batch = batch
        self.variables: dict[Var, Var] = {}
        self.sizes: dict[Var, Literal] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Jaxpr:
        return jaxpr.replace(
            constvars=[self.variable(var) for var in jaxpr.constvars],
            invars=[self.variable(var) for var in jaxpr.invars],
            eqns=[new for old in jaxpr.eqns if (new := self.equation(old)) is not None],
            outvars=[self.atom(atom) for atom in jaxpr.outvars],
        )

    def variable(self, var: Var) -> Var:
        if var not in self.variables:
            self.variables[var] = Var(self.value(var.aval))
        return self.variables[var]

    def atom(self, atom: Any) -> Any:
        if isinstance(atom, Literal):
            return atom
        return self.sizes.get(atom) or self.variable(atom)

    def equation(self, equation: JaxprEqn) -> JaxprEqn | None:
        if equation.primitive.name == "dim_as_value" and not is_symbolic_dim(self.batch):
            (var,) = equation.outvars
            size: Any = np.asarray(concrete(equation.params["dim"], self.batch), var.aval.dtype)
            self.sizes[var] = Literal(size[()], var.aval)
            return None
        return equation.replace(
            invars=[self.atom(atom) for atom in equation.invars],
            params={name: self.parameter(name, value) for name, value in equation.params.items()},
            outvars=[self.variable(var) for var in equation.outvars],
        )

    def value(self, value: Any) -> Any:
        """The same value with every symbol in it replaced."""
        if is_symbolic_dim(value):
            return concrete(value, self.batch)
        if isinstance(value, ClosedJaxpr):
            return ClosedJaxpr(self.jaxpr(value.jaxpr), value.consts)
        if isinstance(value, Jaxpr):
            return self.jaxpr(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.value, value))
        if isinstance(value, (tuple, list)):
            return type(value)(map(self.value, value))
        if hasattr(value, "shape") and any(is_symbolic_dim(size) for size in value.shape):
            return value.update(shape=self.value(value.shape))
        return value

    def parameter(self, name: str, value: Any) -> Any:
        """A named parameter: a value, or a derivative rule, which is traced only when it is needed."""
        if name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk"):

            def forward(*zeros: bool) -> Any:
                jaxpr, *others = value.call_wrapped(*zeros)
                return self.jaxpr(jaxpr), *others

            return linear_util.wrap_init(forward, debug_info=value.debug_info)
        if name == "unmarked":
            return {inner: self.parameter(inner, parameter) for inner, parameter in value.items()}
        if name == "bwd":
            backward = linear_util.wrap_init(value.f, debug_info=value.debug_info)
            for transform, arguments in reversed(value.transforms):
                backward = backward.wrap(transform, self.value(arguments), None)
            return backward
        return self.value(value)
