"""Several models on the same images, as one program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.export import is_symbolic_dim
from jax.extend.core import JaxprEqn, Var, new_jaxpr_eqn

from pwact.core.probe.api import Probe
from pwact.core.probe.checks import batch_of, check_same
from pwact.core.probe.dimensions import with_batch
from pwact.core.probe.marks import site_p
from pwact.core.probe.programs import Programs
from pwact.core.probe.site import Site, Sites
from pwact.core.probe.trace import NeedsBatchSizeError, Program
from pwact.errors import PwactError


def side_by_side(**probes: Probe) -> Probe:
    """Probe several models on the same images, in one program.

    With probes `a` and `b` the variables are {"a": ..., "b": ...}, the outputs too, and the site
    `blocks.0.relu` of `a` is `a.blocks.0.relu`. Each model has an `input` of its own, `a.input` and
    `b.input`, so that it can be edited for one alone. The result is a `Probe` like any other: it is run,
    captured, edited, differentiated and cut, and may itself be put beside others. No model is traced again.

    Args:
        probes: two or more, in evaluation mode, of models that take images of the same shape and dtype.
            The same probe may stand for several networks, which then differ in their variables.

    Raises:
        PwactError: fewer than two probes, something else than a probe, a probe in training mode, models of
            different images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.core.probe import probe
        >>> model = lambda variables, image: jnp.tanh(image @ variables).sum(axis=1)
        >>> image = jnp.ones((2, 3))
        >>> single = probe(model, image, variables=jnp.ones((3, 4)))
        >>> both = side_by_side(trained=single, untrained=single)
        >>> list(both.sites)[:3]
        ['trained.input', 'trained.dot', 'trained.tanh']
        >>> variables = {"trained": jnp.eye(3, 4), "untrained": jnp.zeros((3, 4))}
        >>> outputs, captures = both.run(variables, image, sites=["trained.tanh", "untrained.tanh"])
        >>> {name: value.shape for name, value in outputs.items()}
        {'trained': (2,), 'untrained': (2,)}
    """
    if len(probes) < 2:
        raise PwactError("two probes or more", str(len(probes)), "use the one probe itself")
    for name, each in probes.items():
        if not isinstance(each, Probe):
            raise PwactError(f"a probe as {name!r}", type(each).__name__, "make it with `pwact.probe`")
        if each.mode != "evaluation":
            raise PwactError(
                "probes in evaluation mode", f"{name!r} in {each.mode} mode", "probe that model again"
            )
    first, *others = probes
    image = probes[first].programs.image
    batch = batch_of(image)
    for name in others:
        found = jax.tree.map(lambda struct: with_batch(struct, batch), probes[name].programs.image)
        check_same(f"for {name!r} as for {first!r} an image", image, found)
    variables = {name: each.variables for name, each in probes.items()}
    return Probe(
        _Reader({name: each.programs for name, each in probes.items()}), variables, image, "evaluation"
    )


class _Reader:
    """Reads the programs of several models as one.

    Args:
        parts: the programs of each.
    """

    def __init__(self, parts: Mapping[str, Programs]):
        self.parts = parts

    @property
    def traces(self) -> int:
        distinct = {id(part.read): part.read for part in self.parts.values()}
        return sum(read.traces for read in distinct.values())

    def __call__(self, batch: Any) -> tuple[Program, Sites]:
        programs = {name: _for(part, batch) for name, part in self.parts.items()}
        sites = [_within(name, site) for name, part in self.parts.items() for site in part.sites.values()]
        numbered = [dataclasses.replace(site, depth=depth) for depth, site in enumerate(sites)]
        return _merged(programs), Sites(numbered)


def _for(part: Programs, batch: Any) -> Program:
    """A copy of a model's program, with variables of its own."""
    program = part.symbolic if is_symbolic_dim(batch) else part.of(batch)
    if program is None:
        raise NeedsBatchSizeError
    return program.at(batch)


def _within(name: str, site: Site) -> Site:
    return dataclasses.replace(
        site, name=f"{name}.{site.name}", aliases=tuple(f"{name}.{alias}" for alias in site.aliases)
    )


def _merged(programs: Mapping[str, Program]) -> Program:
    """Programs one after the other, on the same images.

    Inputs and results are in the order of a dictionary's leaves, which is that of its sorted names.
    """
    ordered = [programs[name] for name in sorted(programs)]
    first = ordered[0]
    images = tuple(Var(var.aval) for var in first.images)
    equations: list[JaxprEqn] = []
    for program in programs.values():
        for image, own in zip(images, program.images, strict=True):
            equations.append(new_jaxpr_eqn([image], [own], site_p, {}, set()))
        equations += program.jaxpr.eqns
    constants = [var for program in ordered for var in program.jaxpr.invars[: len(program.constants)]]
    variables = [
        var
        for program in ordered
        for var in program.jaxpr.invars[len(program.constants) : -len(program.images)]
    ]
    return Program(
        jaxpr=first.jaxpr.replace(
            invars=[*constants, *variables, *images],
            outvars=[result for program in ordered for result in program.jaxpr.outvars],
            eqns=equations,
        ),
        constants=tuple(value for program in ordered for value in program.constants),
        images=images,
        image=first.image,
        batch=first.batch,
        results={name: program.results for name, program in programs.items()},
        names={
            f"{name}.{inner}": var
            for name, program in programs.items()
            for inner, var in program.names.items()
        },
    )
