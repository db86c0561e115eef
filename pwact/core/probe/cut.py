"""A program in two parts: what does not depend on a site, and what does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Var, new_jaxpr_eqn

from pwact.core.probe.emit import Emission, needed
from pwact.core.probe.marks import site_p
from pwact.core.probe.normal_form import TRANSPARENT, Atom, bodies, variables_inside
from pwact.core.probe.trace import Program
from pwact.core.probe.values import dependents, variables
from pwact.errors import PwactError

if TYPE_CHECKING:
    from pwact.core.probe.api import Probe


class Cut:
    """A model in two parts. The part above computes only what the site can change.

    What an edit leaves alone is computed once, below, and crosses as `rest`: skip connections, parallel
    branches, other inputs. Made by `Probe.cut`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.core.probe import probe
        >>> model = lambda variables, image: image + jnp.tanh(image @ variables)
        >>> variables, image = jnp.eye(3), jnp.ones((2, 3))
        >>> cut = probe(model, image, variables=variables).cut("tanh")
        >>> activation, rest = cut.below(variables, image)
        >>> scales = jnp.arange(1000.0)
        >>> outputs = jax.vmap(lambda scale: cut.above(variables, scale * activation, rest))(scales)
        >>> outputs.shape
        (1000, 2, 3)
    """

    def __init__(self, probe: Probe, site: str):
        self.probe = probe
        self.site = site
        self._parts: dict[Any, Split] = {}

    def below(self, variables: Any, image: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """From images to the site.

        Returns:
            The activation, and what else the part above needs of these images.
        """
        program, args = self.probe.bound(variables, image)
        parts = self._split(program)
        (activation, *rest), _ = Emission().emit(parts.jaxpr, args, outputs=[parts.site, *parts.rest])
        return activation, tuple(rest)

    def above(self, variables: Any, activation: jax.Array, rest: tuple[jax.Array, ...]) -> Any:
        """From the site to the model's outputs.

        Args:
            variables: like those that were traced.
            activation: like the one from `below`.
            rest: the one from `below`, for the same images.

        Raises:
            PwactError: an activation or a rest of another shape or dtype than `below` returns.
        """
        site = self.probe.sites[self.site]
        program = self.probe.programs.like(site, self._crossing, (activation, *rest))
        parts, crossing = self._split(program), self._crossing(program)
        expected = [(var.aval.shape, var.aval.dtype) for var in crossing]
        found = [(jnp.shape(value), jnp.result_type(value)) for value in (activation, *rest)]
        if expected != found:
            raise PwactError(
                f"the activation of {self.site!r} and its rest as `below` returns them: {expected}",
                str(found),
                "keep shapes and dtypes, and give `above` the rest of the same images",
            )
        inputs = (*program.jaxpr.invars[: -len(program.images)], *crossing)
        args = [*self.probe.bound_variables(program, variables), activation, *rest]
        results, _ = Emission().emit(parts.jaxpr, args, inputs=inputs, outputs=parts.jaxpr.outvars)
        return program.unflatten(results)

    def _crossing(self, program: Program) -> tuple[Var, ...]:
        parts = self._split(program)
        return (parts.site, *parts.rest)

    def _split(self, program: Program) -> Split:
        if program.batch not in self._parts:
            site = program.variable(self.site)
            self._parts[program.batch] = split(program.jaxpr, site, program.images)
        return self._parts[program.batch]


class Split(NamedTuple):
    """A program and the values at which it is cut: the site, and what else must cross.

    The part above computes only what the site can change, so anything an edit leaves alone is computed
    once, below.
    """

    jaxpr: Jaxpr
    site: Var
    rest: tuple[Var, ...]


def split(jaxpr: Jaxpr, site: Var, images: Sequence[Var]) -> Split:
    """Cut a program at a site.

    The rest are the values that the part above reads, that depend on the images and not on the site. What
    depends on the variables alone is computed above, and a broadcast crosses before it is broadcast.
    """
    jaxpr = _opened(jaxpr, site)
    after = dependents(jaxpr, [site])
    carrying = dependents(jaxpr, images) - after
    above = [
        e for e in needed(jaxpr, set(variables(jaxpr.outvars)), [site]) if not after.isdisjoint(e.outvars)
    ]
    definitions = {var: equation for equation in jaxpr.eqns for var in equation.outvars}
    crossing = [atom for equation in above for atom in equation.invars] + list(jaxpr.outvars)
    rest: dict[Var, None] = {}
    for var in variables(crossing):
        while (definition := definitions.get(var)) is not None and _widens(definition):
            (var,) = variables(definition.invars)
        if var in carrying:
            rest[var] = None
    return Split(jaxpr, site, tuple(rest))


def _widens(equation: JaxprEqn) -> bool:
    return equation.primitive.name == "broadcast_in_dim" and isinstance(equation.invars[0], Var)


def _opened(jaxpr: Jaxpr, site: Var) -> Jaxpr:
    """The program with every call around a site written out."""
    equations: list[JaxprEqn] = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in TRANSPARENT and site in set(variables_inside(equation)):
            (body,) = bodies(equation)
            inner = _opened(body.jaxpr, site)
            equations += _renamed(equation, equation.invars, inner.invars)
            equations += inner.eqns
            equations += _renamed(equation, inner.outvars, equation.outvars)
        else:
            equations.append(equation)
    return jaxpr.replace(eqns=equations)


def _renamed(equation: JaxprEqn, values: Sequence[Atom], names: Sequence[Var]) -> list[JaxprEqn]:
    return [
        new_jaxpr_eqn([value], [name], site_p, {}, set(), equation.source_info, equation.ctx)
        for value, name in zip(values, names, strict=True)
    ]
