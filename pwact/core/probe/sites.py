"""The sites of a program: each named value described for one image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.export import is_symbolic_dim
from jax.extend.core import Literal, Var

from pwact.core.probe.candidates import Candidate, candidates
from pwact.core.probe.dimensions import batch_axis, concrete, is_remainder_or_groups
from pwact.core.probe.marks import leaf_suffix
from pwact.core.probe.naming import NamedValue, named_values
from pwact.core.probe.site import Site, Sites
from pwact.core.probe.trace import Program
from pwact.core.probe.values import carriers, dependents
from pwact.core.receptive_field import Fields


def describe(program: Program, outputs: Any) -> tuple[Sites, dict[str, Var]]:
    """Find and name the sites of a program.

    Args:
        program: in normal form.
        outputs: the pytree of shapes of the model's own outputs, which are the first results of the program.

    Returns:
        The sites, and for each name, aliases too, the variable it stands for.
    """
    jaxpr = program.jaxpr
    found = [
        *_ends("input", program.images, program.image),
        *candidates(jaxpr, dependents(jaxpr, program.images)),
        *_ends("output", jaxpr.outvars, outputs),
    ]
    values = named_values(
        [candidate for candidate in found if not _is_part(candidate, program.batch)], carriers(jaxpr)
    )
    names = {name: value.variable for value in values for name in value.names}
    one = dataclasses.replace(program, names=names).at(1)
    constants = dict(zip(one.jaxpr.invars, one.constants, strict=False))
    images = sorted((var for var in one.images if var.aval.shape), key=lambda var: -len(var.aval.shape))
    followed = [Fields(one.jaxpr, image, constants) for image in images]
    sites = [
        _site(value, depth, program.batch, one.names[value.names[0]], followed)
        for depth, value in enumerate(values)
    ]
    return Sites(sites), names


def _ends(name: str, atoms: Sequence[Any], tree: Any) -> list[Candidate]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [
        Candidate(atom, name + leaf_suffix(path), name, name)
        for (path, _), atom in zip(leaves, atoms, strict=False)
        if not isinstance(atom, Literal)
    ]


def _is_part(candidate: Candidate, batch: Any) -> bool:
    """Whether a value holds some of the images only, as in `jax.lax.map` with a `batch_size`."""
    sizes = (*candidate.context.loops, *candidate.variable.aval.shape)
    return any(is_remainder_or_groups(size, batch) for size in sizes)


def _site(value: NamedValue, depth: int, batch: Any, variable: Var, followed: Sequence[Fields]) -> Site:
    """The site for a value.

    Args:
        value: what is described.
        depth: its place in the order of the program.
        batch: the number of images, or its symbol.
        variable: what holds the value in the program that was followed.
        followed: what each array of the image leads to, that of the highest rank first.
    """
    context, aval = value.candidate.context, value.variable.aval
    captured = (*context.loops, *aval.shape)
    if is_symbolic_dim(batch):
        axis = batch_axis(captured, batch)
    else:
        axes = (fields.batch_axis(variable) for fields in followed)
        axis = next((len(context.loops) + axis for axis in axes if axis is not None), None)
    fields = followed[0]
    return Site(
        name=value.names[0],
        aliases=value.names[1:],
        operation=value.candidate.operation,
        shape=tuple(concrete(size, 1) for place, size in enumerate(captured) if place != axis),
        batch_axis=axis,
        dtype=aval.dtype,
        depth=depth,
        is_map=axis == 0 and not context.loops and fields.is_map(variable),
        editable=context.editable,
        cuttable=not context.when,
        when=context.when,
        receptive_field=fields.field(variable),
    )
