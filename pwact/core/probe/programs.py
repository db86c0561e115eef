"""The programs of a model, one for each number of images, read from as few traces as can be."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim
from jax.extend.core import Var

from pwact.core.probe.checks import batch_of
from pwact.core.probe.dimensions import batch_from, symbolic_batch
from pwact.core.probe.modes import Mode
from pwact.core.probe.normal_form import captured_shape
from pwact.core.probe.site import Site, Sites
from pwact.core.probe.sites import describe
from pwact.core.probe.trace import Function, NeedsBatchSizeError, Program, trace
from pwact.errors import PwactError


@runtime_checkable
class Reader(Protocol):
    """Where programs come from.

    Attributes:
        traces: how often a model has been run in Python.
    """

    @property
    def traces(self) -> int: ...

    def __call__(self, batch: Any) -> tuple[Program, Sites]:
        """The program and its sites for a number of images, or for a symbol that stands for it.

        Raises:
            NeedsBatchSizeError: there is none for a symbol.
        """


class ModelReader:
    """Reads programs by tracing a model.

    Args:
        function: the model.
        variables: what it computes with.
        image: the shapes of a batch.
        mode: in training mode the function returns (outputs, new variables).
    """

    def __init__(self, function: Function, variables: Any, image: Any, mode: Mode):
        self.traces = 0
        self._function, self._variables, self._image, self._mode = function, variables, image, mode

    def __call__(self, batch: Any) -> tuple[Program, Sites]:
        """Trace the model."""
        self.traces += 1
        program = trace(self._function, self._variables, self._image, batch)
        outputs = program.results
        if self._mode == "training":
            if not (isinstance(outputs, tuple) and len(outputs) == 2):
                raise PwactError(
                    "a function that returns (outputs, new variables) in training mode",
                    type(outputs).__name__,
                    "return the pair, or use mode='evaluation'",
                )
            outputs = outputs[0]
        sites, names = describe(program, outputs)
        return dataclasses.replace(program, names=names), sites


class Programs:
    """One program for any number of images from 2, where there is one, and one for each number else.

    A single image, and none, are read on their own: Python code that asks whether there is one image, as
    `jnp.squeeze` does, says no to a symbol.

    Args:
        read: where the programs come from.
        image: the shapes of a batch.

    Attributes:
        image: the shapes of a batch.
        sites: those of the program for any number of images, or of the first that was read.
        symbolic: the program for any number of images from 2; None when each number needs its own.
    """

    def __init__(self, read: Reader, image: Any):
        self.read = read
        self.image = image
        self.symbolic: Program | None = None
        self._by_batch: dict[int, Program] = {}
        batch = batch_of(image)
        try:
            program, self.sites = read(symbolic_batch())
            self.symbolic = program
        except NeedsBatchSizeError:
            program, self.sites = read(batch)
            self._by_batch[batch] = program
        self._names = tuple(program.names)

    @property
    def sizes(self) -> list[int]:
        """The numbers of images for which there is a program so far."""
        return sorted(self._by_batch)

    def of(self, batch: int) -> Program:
        """The program for a number of images; read at most once."""
        if batch not in self._by_batch:
            if self.symbolic is not None and batch > 1:
                self._by_batch[batch] = self.symbolic.at(batch)
            else:
                self._by_batch[batch] = self._alike(*self.read(batch))
        return self._by_batch[batch]

    def like(
        self, site: Site, crossing: Callable[[Program], Sequence[Var]], values: Sequence[Any]
    ) -> Program:
        """The program for as many images as the values have that cross a cut.

        Args:
            site: where the cut is.
            crossing: the variables of a program that cross; the site's first.
            values: what crosses.

        Raises:
            PwactError: the values do not say how many images there are.
        """
        if self.symbolic is None:
            axis = site.batch_axis
            return self.of(batch_of(self.image) if axis is None else jnp.shape(values[0])[axis])
        batch = self.symbolic.batch
        sizes = [
            (size, found)
            for var, value in zip(crossing(self.symbolic), values, strict=False)
            for size, found in zip(var.aval.shape, jnp.shape(value), strict=False)
            if is_symbolic_dim(size)
        ]
        numbers = [number for size in sizes if (number := batch_from(*size, batch)) is not None]
        results = [size for struct in jax.tree.leaves(self.symbolic.results) for size in struct.shape]
        if not numbers and (sizes or any(map(is_symbolic_dim, results))):
            found = f"an axis of {sizes[0][0]} images" if sizes else "no axis of images"
            raise PwactError(
                "a cut at values that say how many images there are",
                f"{site.name!r} with {found}",
                "use `run` with edits instead",
            )
        return self.of(numbers[0] if numbers else 2)  # no number matters

    def _alike(self, program: Program, sites: Sites) -> Program:
        """The program without the names of sites that are not what they are for other numbers of images.

        A name stands for the same value where as many values have it and this one has the same shape.
        """
        here, elsewhere = (Counter(map(_unnumbered, names)) for names in (program.names, self._names))
        names = {
            name: var
            for name, var in program.names.items()
            if here[_unnumbered(name)] == elsewhere[_unnumbered(name)]
            and sites[name].when == self.sites[name].when
            and _fits(self.sites[name], captured_shape(program.jaxpr, var), var.aval.dtype, program.batch)
        }
        return dataclasses.replace(program, names=names)


def _unnumbered(name: str) -> str:
    return name.rpartition("@")[0] or name


def _fits(site: Site, shape: tuple[int, ...], dtype: Any, batch: int) -> bool:
    """Whether a captured value has the dtype and shape that a site says."""
    if site.batch_axis is None:
        return dtype == site.dtype and len(shape) == len(site.shape)
    before, after = site.shape[: site.batch_axis], site.shape[site.batch_axis :]
    return dtype == site.dtype and shape == (*before, batch, *after)
