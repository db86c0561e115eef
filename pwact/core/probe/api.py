"""A model as a program with named places."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.export import is_symbolic_dim
from jax.extend.core import Var

from pwact.core.probe.cut import Cut
from pwact.core.probe.dimensions import batch_from, symbolic_batch
from pwact.core.probe.emit import Emission
from pwact.core.probe.gradients import gradients
from pwact.core.probe.modes import Mode, checked_mode
from pwact.core.probe.site import Sites
from pwact.core.probe.sites import describe
from pwact.core.probe.trace import Function, NeedsBatchSizeError, Program, as_function, trace
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
    `name[key]`. Two names of one value are aliases.

    The model is traced with a symbol for the number of images, so Python code that compares that number with
    a constant is traced for every other number.

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
    return Probe(function, variables, _structs(image), checked)


class Probe:
    """A model's program and its sites. Made by `probe`.

    Attributes:
        sites: the named places, in program order.
        variables: those given, or the module's own.
        mode: "evaluation" or "training".
        traces: how often the model has been run in Python to read its program. It does not grow with new
            batch sizes, unless the model asks for the batch size as a number; then each is traced once.
    """

    def __init__(self, function: Function, variables: Any, image: Any, mode: Mode):
        self.variables = variables
        self.mode: Mode = mode
        self.traces = 0
        self._function = function
        self._expected = _structs(variables)
        self._image = image
        self._programs: dict[int, Program] = {}
        self._symbolic: Program | None = None
        batch = _batch_of(image)
        with contextlib.suppress(NeedsBatchSizeError):
            self._symbolic, self.sites = self._trace(symbolic_batch())
        if self._symbolic is None:
            self._programs[batch], self.sites = self._trace(batch)

    def run(
        self,
        variables: Any,
        image: Any,
        sites: Sequence[str] = (),
        edits: Mapping[str, Edit] | None = None,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Run the model, capture at sites, edit at others.

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
        sizes = ", ".join(map(str, sorted(self._programs)))
        batches = "any number of images" if self._symbolic else f"{sizes} images (each number is traced)"
        return f"Probe in {self.mode} mode, {len(self.sites)} sites, for {batches}\n{self.sites!r}"

    def program(self, batch: int) -> Program:
        """The program for a number of images; traced at most once."""
        if batch not in self._programs:
            if self._symbolic is not None:
                self._programs[batch] = self._symbolic.at(batch)
            else:
                self._programs[batch], _ = self._trace(batch)
        return self._programs[batch]

    def program_like(
        self, site: str, crossing: Callable[[Program], Sequence[Var]], values: Sequence[Any]
    ) -> Program:
        """The program for as many images as the values have that cross a cut.

        Args:
            site: where the cut is.
            crossing: the variables of a program that cross; the site's first.
            values: what crosses.

        Raises:
            PwactError: the values do not say how many images there are.
        """
        if self._symbolic is None:
            axis = self.sites[site].batch_axis
            return self.program(_batch_of(self._image) if axis is None else jnp.shape(values[0])[axis])
        batch = self._symbolic.batch
        sizes = [
            (size, found)
            for var, value in zip(crossing(self._symbolic), values, strict=False)
            for size, found in zip(var.aval.shape, jnp.shape(value), strict=False)
            if is_symbolic_dim(size)
        ]
        numbers = [number for size in sizes if (number := batch_from(*size, batch)) is not None]
        if sizes and not numbers:
            raise PwactError(
                "a cut at values that say how many images there are",
                f"{site!r} with an axis of {sizes[0][0]} images",
                "use `run` with edits instead",
            )
        return self.program(numbers[0] if numbers else 1)

    def bound(self, variables: Any, image: Any) -> tuple[Program, list[Any]]:
        """The program for these images, and the values of its inputs."""
        found = _structs(image)
        program = self.program(_batch_of(found))
        _check_same("image", program.image, found)
        images = map(jnp.asarray, jax.tree.leaves(image))
        return program, [*self.bound_variables(program, variables), *images]

    def bound_variables(self, program: Program, variables: Any) -> list[Any]:
        """The values of a program's first inputs: what the model closes over, and its variables."""
        _check_same("variables", self._expected, _structs(variables))
        return [*program.constants, *map(jnp.asarray, jax.tree.leaves(variables))]

    def _trace(self, batch: Any) -> tuple[Program, Sites]:
        self.traces += 1
        program = trace(self._function, self.variables, self._image, batch)
        outputs = program.results
        if self.mode == "training":
            if not (isinstance(outputs, tuple) and len(outputs) == 2):
                raise PwactError(
                    "a function that returns (outputs, new variables) in training mode",
                    type(outputs).__name__,
                    "return the pair, or use mode='evaluation'",
                )
            outputs = outputs[0]
        sites, names = describe(program, outputs)
        return dataclasses.replace(program, names=names), sites

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
            found[var] = _checked(name, edit, var.aval)
        return found


def _checked(name: str, edit: Edit, aval: Any) -> Edit:
    """The edit, which raises unless its result is like its argument."""

    def checked(activation: jax.Array) -> jax.Array:
        result = edit(activation)
        is_one = jax.tree_util.all_leaves([result])
        if is_one and jnp.shape(result) == aval.shape and jnp.result_type(result) == aval.dtype:
            return jnp.asarray(result, aval.dtype)
        raise PwactError(
            f"an edit of {name!r} that returns {aval.dtype.name}{list(aval.shape)}",
            f"{jnp.result_type(result).name}{list(jnp.shape(result))}" if is_one else type(result).__name__,
            "keep the shape and dtype of the activation",
        )

    return checked


def _structs(tree: Any) -> Any:
    """The shapes and dtypes of a pytree's arrays."""
    try:
        return jax.eval_shape(lambda arrays: arrays, tree)
    except TypeError as error:
        kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(tree) if not _is_array(leaf)}
        raise PwactError(
            "arrays, numbers and pytrees of them", ", ".join(sorted(kinds)), "leave out what is no array"
        ) from error


def _is_array(leaf: Any) -> bool:
    kind = getattr(getattr(leaf, "dtype", None), "kind", "O")
    return kind not in "OSU" or isinstance(leaf, (bool, int, float, complex))


def _batch_of(image: Any) -> int:
    """The number of images, which the first array's first axis counts."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(image) if leaf.shape]
    if not shapes:
        raise PwactError("an image with a batch axis", "no axis at all", "pass a batch, image[None]")
    if len({shape[0] for shape in shapes}) > 1:
        raise PwactError(
            "arrays whose first axis is the batch",
            f"first axes {[shape[0] for shape in shapes]}",
            "put what has no batch axis into the variables",
        )
    return shapes[0][0]


def _check_same(what: str, expected: Any, found: Any) -> None:
    """Raise at the first difference between two pytrees of shapes, which may differ in metadata."""
    wanted, given = map(jax.tree_util.tree_leaves_with_path, (expected, found))
    for (place, struct), (other_place, other) in zip(wanted, given, strict=False):
        where, elsewhere = jax.tree_util.keystr(place), jax.tree_util.keystr(other_place)
        if where != elsewhere:
            raise PwactError(
                f"{what}{where}", f"{what}{elsewhere}", f"pass {what} like those that were traced"
            )
        if struct.shape != other.shape or struct.dtype != other.dtype:
            raise PwactError(
                f"{what}{where} of {struct.dtype}{list(struct.shape)}",
                f"{other.dtype}{list(other.shape)}",
                "pass what was traced, or probe the model again",
            )
    if len(wanted) != len(given):
        raise PwactError(
            f"{what} of {len(wanted)} arrays",
            f"{len(given)} arrays",
            "pass what was traced, or probe the model again",
        )
