"""A model as a program with named places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from pwact.core.probe.checks import batch_of, check_same, checked_edit, structs
from pwact.core.probe.cut import Cut
from pwact.core.probe.emit import Emission
from pwact.core.probe.gradients import gradients
from pwact.core.probe.modes import Mode, checked_mode
from pwact.core.probe.programs import ModelReader, Programs, Reader
from pwact.core.probe.trace import Program, as_function
from pwact.errors import PwactError

Edit = Callable[[jax.Array], jax.Array]


def probe(model: Any, image: Any, *, variables: Any = None, mode: str = "evaluation") -> Probe:
    """Trace a model once and name the places in it.

    Args:
        model: a Flax NNX module, a Flax Linen module, or a function `f(variables, image)`; `f(image)` when
            `variables` is None.
        image: a batch of images of any size, or its shapes; a pytree when the model takes one. Every array
            in it has the batch as its first axis. Only shapes and dtypes matter.
        variables: what the model computes with; an NNX module brings its own.
        mode: "evaluation" (dropout off, running averages used) or "training", in which the outputs are the
            pair (outputs, new variables). A function runs as it is written, and in training mode returns
            that pair itself.

    The sites are `input`, `output`, what each module returned by its path (`blocks.0.conv`), what each nested
    `jit`, `custom_jvp` or `custom_vjp` returned by its function's name under the path of its module
    (`blocks.0.relu`), what leaves a `jax.named_scope`, names given with `checkpoint_name`, and convolutions,
    products, pools, sums of two activations and the like where nothing else names them. What a library's own
    layer does inside is not named. The second value of the same name is `name@2`, of a pytree `name[0]` or
    `name[key]`. Two names of one value are aliases. An NNX module held under several attributes
    has the path that comes first in the alphabet: copies of a module do not know which was set first.

    The model is traced with a symbol for the number of images, and once more when a single image is given,
    for which Python code may do something else. A site that is another value for a single image is refused
    there. Code that asks whether there are exactly 8 images is told no by the symbol, for 8 images too.
    What holds some of the images only, as in `jax.lax.map` with a `batch_size`, is no site: probe the
    function that is mapped.

    Raises:
        PwactError: no variables for a Linen module, a model that needs more arguments or does not run on
            such an image, an image without a batch axis.

    Example:
        >>> import jax, jax.numpy as jnp, pwact
        >>> def model(variables, image):
        ...     return jax.nn.relu(image @ variables).sum(axis=1)
        >>> probed = probe(model, jnp.ones((2, 3)), variables=jnp.ones((3, 4)))
        >>> list(probed.sites)
        ['input', 'dot', 'relu', 'output']
        >>> silenced = probed.run(jnp.ones((3, 4)), jnp.ones((2, 3)), edits={"relu": jnp.zeros_like})
        >>> silenced[0]
        Array([0., 0.], dtype=float32)
    """
    checked = checked_mode(mode)
    function, variables = as_function(model, variables, checked)
    shapes = structs(image)
    return Probe(ModelReader(function, variables, shapes, checked), variables, shapes, checked)


class Probe:
    """A model's program and its sites. Made by `probe`.

    Attributes:
        sites: the named places, in program order.
        variables: those given, or the module's own.
        mode: "evaluation" or "training".
        programs: the model's program for each number of images.
        traces: how often the model has been run in Python to read its program: once for every number of
            images from 2, and once more when a single image is asked for. Only a model that asks for the
            batch size as a number is traced for each.
    """

    def __init__(self, read: Reader, variables: Any, image: Any, mode: Mode):
        self.variables = variables
        self.mode: Mode = mode
        self._expected = structs(variables)
        self.programs = Programs(read, image)
        self.sites = self.programs.sites

    @property
    def traces(self) -> int:
        """How often the model has been run in Python to read its program."""
        return self.programs.read.traces

    def run(
        self,
        variables: Any,
        image: Any,
        sites: Sequence[str] = (),
        edits: Mapping[str, Edit] | None = None,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Run the model, capture at sites, edit at others.

        Derivatives are those of the model, rules of `custom_jvp` and `custom_vjp` included. A rule no longer
        describes a function in whose body a site is edited, so that function is differentiated by the
        operations of its body, even where the edit changes nothing; so is the activation of a site inside.

        Args:
            variables: like `self.variables`.
            image: like the one that was traced, with any number of images.
            sites: names of the values to return. A site that is edited too is returned as edited.
            edits: for each site a function of its activation, whose value takes its place in all that
                follows. Inside a scan it is applied in every turn.

        Returns:
            The model's outputs, and the activation of each site by the name it was asked for.

        Raises:
            PwactError: an unknown or repeated site; an edit of a site that is read only, or one that changes
                shape or dtype; variables or images of other shapes than were traced.
        """
        program, args = self.bound(variables, image)
        captures = self.captures(program, sites)
        emission = Emission(captures.values(), self._edits(program, edits or {}))
        results, captured = emission.emit(program.jaxpr, args)
        return program.unflatten(results), {name: captured[var] for name, var in captures.items()}

    def capture(self, variables: Any, image: Any, sites: Sequence[str]) -> dict[str, jax.Array]:
        """The activations of sites alone: nothing is computed that they do not need."""
        program, args = self.bound(variables, image)
        captures = self.captures(program, sites)
        _, captured = Emission(captures.values()).emit(program.jaxpr, args, outputs=())
        return {name: captured[var] for name, var in captures.items()}

    def gradients(
        self, variables: Any, image: Any, *, of: Callable[[Any], jax.Array], sites: Sequence[str]
    ) -> tuple[Any, dict[str, jax.Array], dict[str, jax.Array]]:
        """Outputs, activations, and the slope of a number of the outputs at every point of sites.

        gradients[site] = d (sum over images b of `of(outputs)`[b]) / d activation of the site

        by one forward and one backward pass, whatever the number of sites. Each gradient is that of the
        program as it stands: what the site changes later is followed, other sites that are asked for
        included. Where images do not mix, as in evaluation mode, the gradient of an image is that of its
        own number alone. A site inside a `custom_jvp` or `custom_vjp` is followed to the result of that
        function by the operations of its body, for the rule does not know the site; everywhere else
        the rule holds. Inside a scan the gradient has the leading axis of the activation, one slope
        a turn. In a branch that is not taken it is zero.

        Args:
            variables: like `self.variables`.
            image: like the one that was traced, with any number of images.
            of: from the outputs, as `run` returns them, to one floating-point number an image, [batch].
            sites: names of the values.

        Returns:
            The outputs and the activations as `run` returns them, bit by bit, and the gradients, each with
            the name, shape and dtype of its activation.

        Raises:
            PwactError: an unknown or repeated site, one that is read only or holds no floating-point
                numbers, a while loop between a site and the outputs, `of` without one number an image.

        Example:
            >>> import jax.numpy as jnp
            >>> model = lambda variables, image: jnp.tanh(image @ variables) ** 2
            >>> variables, image = jnp.eye(3), jnp.ones((2, 3))
            >>> outputs, activations, gradients = probe(model, image, variables=variables).gradients(
            ...     variables, image, of=lambda outputs: outputs[:, 0], sites=["tanh"])
            >>> bool(jnp.allclose(gradients["tanh"], 2 * activations["tanh"] * jnp.array([[1, 0, 0]])))
            True
        """
        return gradients(self, variables, image, of, sites)

    def cut(self, site: str) -> Cut:
        """The model in two parts, below and above a site.

        Raises:
            PwactError: an unknown site, or one inside a loop or a branch.
        """
        found = self.sites[site]
        if not found.cuttable:
            raise PwactError(
                "a site outside loops and branches", f"{site!r}, {found.when}", "use `run` with edits instead"
            )
        return Cut(self, found.name)

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, self.programs.sizes))
        batches = (
            "any number of images" if self.programs.symbolic else f"{sizes} images (each number is traced)"
        )
        return f"Probe in {self.mode} mode, {len(self.sites)} sites, for {batches}\n{self.sites!r}"

    def bound(self, variables: Any, image: Any) -> tuple[Program, list[Any]]:
        """The program for these images, and the values of its inputs."""
        found = structs(image)
        program = self.programs.of(batch_of(found))
        check_same("image", program.image, found)
        images = map(jnp.asarray, jax.tree.leaves(image))
        return program, [*self.bound_variables(program, variables), *images]

    def bound_variables(self, program: Program, variables: Any) -> list[Any]:
        """The values of a program's first inputs: what the model closes over, and its variables."""
        check_same("variables", self._expected, structs(variables))
        return [*program.constants, *map(jnp.asarray, jax.tree.leaves(variables))]

    def captures(self, program: Program, sites: Sequence[str]) -> dict[str, Var]:
        """For each name of a site that is asked for, the variable of a program that holds its value."""
        if isinstance(sites, str):
            raise PwactError("a sequence of names of sites", f"the text {sites!r}", f"write [{sites!r}]")
        repeated = [name for name, count in Counter(sites).items() if count > 1]
        if repeated:
            raise PwactError("each site once", f"{repeated[0]!r} repeatedly", "drop the repetition")
        return {name: program.variable(self.sites[name].name) for name in sites}

    def _edits(self, program: Program, edits: Mapping[str, Edit]) -> dict[Var, Edit]:
        if not isinstance(edits, Mapping):
            raise PwactError(
                "edits as a mapping from site to function",
                type(edits).__name__,
                "write {'blocks.0.relu': function}",
            )
        found: dict[Var, Edit] = {}
        for name, edit in edits.items():
            site = self.sites[name]
            if not callable(edit):
                raise PwactError(
                    f"an edit of {name!r} that is a function of the activation",
                    type(edit).__name__,
                    "wrap a fixed value, as in lambda activation: value",
                )
            if not site.editable:
                raise PwactError(
                    "a site that can be edited",
                    f"{name!r}, {site.when}",
                    "edit the value that goes in, or the result",
                )
            var = program.variable(site.name)
            if var in found:
                raise PwactError(
                    "one edit a site", f"{name!r} and an alias of it", "compose the two functions"
                )
            found[var] = checked_edit(name, edit, var.aval)
        return found
