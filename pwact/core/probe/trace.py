"""A model traced once: its program in normal form, for any number of images where that is possible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen, nnx
from jax.export import is_symbolic_dim
from jax.extend.core import Jaxpr, Var

from pwact.core.probe.concrete import at_batch_size
from pwact.core.probe.dimensions import with_batch
from pwact.core.probe.linen_model import linen_function, marked_linen_modules
from pwact.core.probe.modes import Mode
from pwact.core.probe.nnx_model import nnx_function
from pwact.core.probe.normal_form import normal_form
from pwact.errors import PwactError

Function = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class Program:
    """A program whose inputs are constants, the leaves of the variables and those of the image.

    Args:
        jaxpr: in normal form.
        constants: arrays that the model closes over.
        images: the last inputs, one for each leaf of the image.
        image: the pytree of shapes that those leaves make up.
        batch: the number of images, or the symbol that stands for it.
        results: the pytree of shapes that the program returns.
        names: for each name of a site the variable that holds its value.
    """

    jaxpr: Jaxpr
    constants: tuple[Any, ...]
    images: tuple[Var, ...]
    image: Any
    batch: Any
    results: Any
    names: Mapping[str, Var] = dataclasses.field(default_factory=dict)

    def variable(self, name: str) -> Var:
        """The variable that holds a site's value."""
        if name not in self.names:
            raise PwactError(
                "the same sites with the same shapes for every number of images",
                f"no such {name!r} for {self.batch}",
                "give the model batches of the size it was probed with",
            )
        return self.names[name]

    def at(self, batch: Any) -> Program:
        """The same program for a number of images, with variables of its own."""
        jaxpr, variables = at_batch_size(self.jaxpr, batch)
        return dataclasses.replace(
            self,
            jaxpr=jaxpr,
            images=tuple(variables[var] for var in self.images),
            image=jax.tree.map(lambda struct: with_batch(struct, batch), self.image),
            batch=batch,
            names={name: variables[var] for name, var in self.names.items()},
        )

    def unflatten(self, results: list[Any]) -> Any:
        """The pytree that the model returns, from its leaves."""
        return jax.tree.unflatten(jax.tree.structure(self.results), results)


class NeedsBatchSizeError(Exception):
    """The model could not be traced for an unknown number of images."""


def trace(function: Function, variables: Any, image: Any, batch: Any) -> Program:
    """Run a model once on abstract values.

    Args:
        function: the model.
        variables: what it computes with; only shapes and dtypes matter.
        image: the shapes of a batch of any size.
        batch: the number of images, or a symbol for it.

    Raises:
        NeedsBatchSizeError: the model fails when the number of images is a symbol.
        PwactError: it fails when that is a number.
    """
    image = jax.tree.map(lambda struct: with_batch(struct, batch), image)
    try:
        with marked_linen_modules():
            closed, results = jax.make_jaxpr(function, return_shape=True)(variables, image)
    except PwactError:
        raise
    except Exception as error:  # whatever a model raises when it cannot take a symbol for a number
        if is_symbolic_dim(batch):
            raise NeedsBatchSizeError from error
        shapes = ", ".join(f"{struct.dtype}{list(struct.shape)}" for struct in jax.tree.leaves(image))
        raise PwactError(
            f"a model that runs on {shapes}",
            f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
            "probe it with an image like those it takes and with its own variables",
        ) from error
    jaxpr = normal_form(closed.jaxpr)
    images = tuple(jaxpr.invars[len(jaxpr.invars) - len(jax.tree.leaves(image)) :])
    return Program(jaxpr, tuple(closed.consts), images, image, batch, results)


def as_function(model: Any, variables: Any, mode: Mode) -> tuple[Function, Any]:
    """A model of any kind as a function of (variables, image), and its variables."""
    if isinstance(model, nnx.Module):
        function, own = nnx_function(model, mode)
        return function, own if variables is None else variables
    if isinstance(model, linen.Module):
        if variables is None:
            raise PwactError(
                "the variables of a Linen module", "none", "pass variables=module.init(key, image)"
            )
        return linen_function(model, mode), variables
    if not callable(model):
        raise PwactError(
            "a Flax module or a function", type(model).__name__, "pass a function(variables, image)"
        )
    return (lambda _, image: model(image)) if variables is None else model, variables
