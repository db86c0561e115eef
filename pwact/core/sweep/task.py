"""What a sweep computes: everything but the numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Result
from pwact.core.caching import function_key, remembered
from pwact.errors import PwactError
from pwact.types import Batch, Observation

OPTIONAL = ("prediction", "logits", "gradient", "mask")
"""The parts of an observation that are computed, or read, only where a statistic looks at them."""


Part = tuple[str, str]
"""A node and the name of a statistic there."""


class Node(NamedTuple):
    """A node of the result tree: a site, or a pair of them, and the statistics there."""

    name: str
    sites: tuple[str, ...]
    statistics: tuple[tuple[str, Accumulator], ...]


class Task(NamedTuple):
    """What a program computes.

    Args:
        probe: the model.
        nodes: what is asked for where.
        preprocess: stored image -> what the model sees.
        logits: model's outputs -> logits.
        gradient_of: logits, label, prediction -> one number an image.
        devices: that share the images of every load.
    """

    probe: Any
    nodes: tuple[Node, ...]
    preprocess: Callable[[jax.Array], jax.Array] | None
    logits: Callable[[Any], jax.Array] | None
    gradient_of: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None
    devices: tuple[jax.Device, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """Those that are looked at, each once, in the order of the model's program."""
        return tuple(dict.fromkeys(site for node in self.nodes for site in node.sites))

    @property
    def passes(self) -> int:
        """How often the dataset is read."""
        return max(acc.passes for node in self.nodes for _, acc in node.statistics)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it could be split into: node and name of each statistic."""
        return tuple((node.name, name) for node in self.nodes for name, _ in node.statistics)

    def only(self, parts: Collection[Part]) -> Task:
        """These of its parts."""
        return self._where(lambda part, acc: part in parts)

    def on_pass(self, number: int) -> Task:
        """What is still to be computed when the dataset has been read `number` times."""
        return self._where(lambda part, acc: acc.passes > number)

    def ending_on(self, number: int) -> Task:
        """What pass `number` is the last of."""
        return self._where(lambda part, acc: acc.passes == number + 1)

    def _where(self, chosen: Callable[[Part, Accumulator], bool]) -> Task:
        nodes = []
        for node in self.nodes:
            statistics = tuple((name, acc) for name, acc in node.statistics if chosen((node.name, name), acc))
            if statistics:
                nodes.append(node._replace(statistics=statistics))
        return self._replace(nodes=tuple(nodes))

    def look(self, variables: Any, image: jax.Array, label: jax.Array, gradients: bool) -> Look:
        """What there is to see for a batch of stored images."""
        seen = image if self.preprocess is None else self.preprocess(image)
        if not gradients or self.gradient_of is None:
            outputs, captures = self.probe.run(variables, seen, sites=self.sites)
            return Look(seen, self._logits(outputs), captures, None)
        number = self.gradient_of

        def of(outputs: Any) -> jax.Array:
            logits = self.decide(outputs)
            return number(logits, label, decision(logits))

        outputs, captures, slopes = self.probe.gradients(variables, seen, of=of, sites=self.sites)
        return Look(seen, self.decide(outputs), captures, slopes)

    def _logits(self, outputs: Any) -> jax.Array | None:
        """Logits [batch, class] from whatever the model returned; None where that is something else."""
        logits = outputs if self.logits is None else self.logits(outputs)
        return logits if len(getattr(logits, "shape", ())) == 2 else None

    def decisive(self, variables: Any, image: jax.Array) -> jax.Array:
        """The logits of stored images, of a model that has some."""
        seen = image if self.preprocess is None else self.preprocess(image)
        return self.decide(self.probe.run(variables, seen)[0])

    def decide(self, outputs: Any) -> jax.Array:
        """Logits [batch, class] from whatever the model returned, which has to be or hold them."""
        logits = outputs if self.logits is None else self.logits(outputs)
        if self._logits(outputs) is None:
            found = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), logits)
            raise PwactError(
                "logits [batch, class] from the model",
                f"{type(outputs).__name__} with {found}",
                "pass logits=lambda outputs: ..., which picks them out",
            )
        return logits


class Look(NamedTuple):
    """A batch on its way through the model: pixels, logits, activations and their gradients."""

    image: jax.Array
    logits: jax.Array | None
    captures: dict[str, jax.Array]
    gradients: dict[str, jax.Array] | None

    def observation(self, node: Node, batch: Batch) -> Observation:
        """What the statistics of a node are shown."""
        one, *other = (self.captures[site] for site in node.sites)
        slope: Any = None
        if self.gradients is not None:
            slope, *others = (self.gradients[site] for site in node.sites)
            slope = (slope, *others) if others else slope
        activation: Any = (one, *other) if other else one
        # A model without logits decides nothing, and no statistic that looks at decisions gets this far.
        prediction = jnp.zeros_like(batch.label) if self.logits is None else decision(self.logits)
        return Observation(
            *(activation, batch.label, prediction, batch.index, batch.valid),
            logits=self.logits,
            gradient=slope,
            mask=batch.mask,
        )


def decision(logits: jax.Array) -> jax.Array:
    """The class that a model decides for."""
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def nodes(sites: tuple[str, ...], statistics: Mapping[str, Accumulator]) -> tuple[Node, ...]:
    """A node a site, and one a pair of sites where there are pairwise statistics."""
    single = tuple((name, acc) for name, acc in statistics.items() if not acc.pairwise)
    paired = tuple((name, acc) for name, acc in statistics.items() if acc.pairwise)
    if paired and len(sites) < 2:
        raise PwactError(
            f"two sites or more for {', '.join(name for name, _ in paired)}", f"{list(sites)}", "name another"
        )
    alone = [Node(site, (site,), single) for site in sites] if single else []
    pairs = itertools.combinations(sites, 2) if paired else ()
    return (*alone, *(Node(pair_name(*pair), pair, paired) for pair in pairs))


def pair_name(one: str, other: str) -> str:
    """The name of the node of two sites, the earlier in the model first.

    Example:
        >>> pair_name("blocks.0.relu", "blocks.1.relu")
        'blocks.0.relu & blocks.1.relu'
    """
    return f"{one} & {other}"


class Shapes(NamedTuple):
    """What a task makes of one image.

    Args:
        sites: shape and dtype of the activation at each site.
        results: (node, statistic.array, dimension) -> length.
        used: which of `OPTIONAL` some statistic looks at.
    """

    sites: dict[str, jax.ShapeDtypeStruct]
    results: dict[tuple[str, str, str], int]
    used: frozenset[str]

    def of(self, node: Node) -> Any:
        """What `init` of the node's statistics is given."""
        specs = tuple(self.sites[site] for site in node.sites)
        return specs if len(specs) > 1 else specs[0]


def shapes(task: Task, variables: Any, load: Batch) -> Shapes:
    """The shapes that come of a task; nothing is computed."""

    def result(acc: Accumulator, spec: Any) -> Result:
        return jax.eval_shape(lambda: acc.finalize(acc.init(spec)))

    def find() -> Shapes:
        gradients = task.gradient_of is not None
        look = jax.eval_shape(
            lambda variables, image, label: task.look(variables, image, label, gradients),
            *(variables, load.image, load.label),
        )
        sites = {
            site: jax.ShapeDtypeStruct(capture.shape[1:], capture.dtype)
            for site, capture in look.captures.items()
        }
        found = Shapes(sites, {}, frozenset())
        for node in task.nodes:
            names: set[str] = set()
            for name, acc in node.statistics:
                for array, value in result(acc, found.of(node)).items():
                    if f"{name}.{array}" in names:
                        raise PwactError(
                            "statistics whose results have names of their own",
                            f"'{name}.{array}' twice",
                            "rename one of the statistics",
                        )
                    names.add(f"{name}.{array}")
                    lengths = zip(value.dims, value.values.shape, strict=True)
                    found.results.update({(node.name, f"{name}.{array}", dim): size for dim, size in lengths})
        used = frozenset().union(*(_used(task, node, look, load) for node in task.nodes))
        if used & {"prediction", "logits"}:
            jax.eval_shape(task.decisive, variables, load.image)
        return found._replace(used=used)

    return remembered(task.probe, ("shapes", len(load.label), task_key(task, variables, load)), find)


def task_key(task: Task, variables: Any, load: Batch) -> Hashable:
    """Equal for tasks that one program serves."""
    leaves, tree = jax.tree.flatten(jax.tree.map(spec_of, variables))
    functions = (task.preprocess, task.logits, task.gradient_of)
    return (
        *(task.nodes, task.devices, *map(function_key, functions)),
        *(tree, tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves)),
        tuple(None if array is None else (array.shape[1:], array.dtype) for array in load),
    )


def spec_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of one array."""
    aval = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False))


def _used(task: Task, node: Node, look: Look, load: Batch) -> set[str]:
    """Which of `OPTIONAL` the statistics of a node look at."""

    def observe(look: Look, batch: Batch) -> Observation:
        return look.observation(node, batch)

    if look.logits is None:  # whether they are looked at has to be known before they can be missed
        some: Any = jax.ShapeDtypeStruct((len(load.label), 1), jnp.float32)
        look = look._replace(logits=some)
    seen = jax.eval_shape(observe, look, jax.tree.map(spec_of, load))
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), seen.activation)
    used: set[str] = set()
    for _, acc in node.statistics:
        state = jax.eval_shape(lambda acc=acc: acc.init(one))
        jaxpr = jax.make_jaxpr(acc.update)(state, seen).jaxpr
        needed = {var for var in jaxpr.outvars if not hasattr(var, "val")}
        for eqn in reversed(jaxpr.eqns):
            if needed.intersection(eqn.outvars):
                needed.update(var for var in eqn.invars if not hasattr(var, "val"))
        at = len(jax.tree.leaves(state))
        for field, value in zip(Observation._fields, seen, strict=True):
            size = len(jax.tree.leaves(value))
            if field in OPTIONAL and needed.intersection(jaxpr.invars[at : at + size]):
                used.add(field)
            at += size
    return used
