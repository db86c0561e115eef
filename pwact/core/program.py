"""The compiled program of a sweep: one load of images into the states of the statistics."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pwact.core import backend
from pwact.core.accumulator import Accumulator, Result, State, per_image
from pwact.core.blocks import in_blocks
from pwact.core.counter import Counter
from pwact.core.memory import function_key, remembered
from pwact.errors import PwactError
from pwact.types import Batch, Observation


class Task(NamedTuple):
    """What a program computes: everything but the numbers."""

    probe: Any
    sites: tuple[str, ...]
    statistics: Accumulator
    preprocess: Callable[[jax.Array], jax.Array] | None
    logits: Callable[[Any], jax.Array] | None

    def look(self, variables: Any, image: jax.Array) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """(what the model sees, its outputs, the activations) for a batch of stored images."""
        seen = image if self.preprocess is None else self.preprocess(image)
        outputs, captures = self.probe.run(variables, seen, sites=self.sites)
        return seen, outputs, captures

    def decide(self, outputs: Any) -> jax.Array:
        """Logits [batch, class] from whatever the model returned."""
        logits = outputs if self.logits is None else self.logits(outputs)
        if not hasattr(logits, "shape") or len(logits.shape) != 2:
            found = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), logits)
            raise PwactError(
                "logits [batch, class] from the model",
                f"{type(outputs).__name__} with {found}",
                "pass logits=lambda outputs: ..., which picks them out",
            )
        return logits


class Program(NamedTuple):
    """A task, compiled for one shape of load.

    Args:
        init: () -> the states before the first image.
        run: (states, variables, load in micro-batches, how many of them) -> states, faults.
        finalize: states -> result of each site.
        micro_batches: that a full load holds.
    """

    init: Callable[[], State]
    run: Callable[[State, Any, Batch, Any], tuple[State, jax.Array]]
    finalize: Callable[[State], dict[str, Result]]
    micro_batches: int


def compiled(task: Task, micro_batch: int, variables: Any, load: Batch, batch_size: int) -> Program:
    """The program for this task and micro-batch: from memory if the same was asked for before.

    Args:
        task: what to compute.
        micro_batch: images computed on at once.
        variables: one set; others of the same shapes use the same program.
        load: one load of images on the host, for shapes and dtypes.
        batch_size: images of a full load.
    """
    shape = (-(-batch_size // micro_batch), micro_batch)

    def compile_it() -> Program:
        batch = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct((*shape, *array.shape[1:]), array.dtype), load
        )
        return _compile(task, shapes(task, variables, load).sites, jax.tree.map(_spec, variables), batch)

    return remembered(task.probe, ("program", shape, task_key(task, variables, load)), compile_it)


class Shapes(NamedTuple):
    """What a task makes of one image.

    Args:
        sites: shape and dtype of the activation at each site.
        results: (site, statistic.array, dimension) -> length.
    """

    sites: dict[str, jax.ShapeDtypeStruct]
    results: dict[tuple[str, str, str], int]


def shapes(task: Task, variables: Any, load: Batch) -> Shapes:
    """The shapes that come of a task; nothing is computed."""

    def nothing_seen(activation: jax.Array) -> Result:
        spec = jax.ShapeDtypeStruct(activation.shape, activation.dtype)
        return task.statistics.finalize(task.statistics.init(spec))

    def find() -> Shapes:
        _, outputs, captures = jax.eval_shape(task.look, variables, load.image)
        jax.eval_shape(task.decide, outputs)
        sites = {
            site: jax.ShapeDtypeStruct(captures[site].shape[1:], captures[site].dtype) for site in task.sites
        }
        results: dict[tuple[str, str, str], int] = {}
        for site, spec in sites.items():
            for name, value in jax.eval_shape(nothing_seen, spec).items():
                lengths = zip(value.dims, value.values.shape, strict=True)
                results |= {(site, name, dim): length for dim, length in lengths}
        return Shapes(sites, results)

    return remembered(task.probe, ("shapes", len(load.label), task_key(task, variables, load)), find)


def task_key(task: Task, variables: Any, load: Batch) -> Hashable:
    """Equal for tasks that one program serves."""
    leaves, tree = jax.tree.flatten(jax.tree.map(_spec, variables))
    return (
        *(task.sites, task.statistics, function_key(task.preprocess), function_key(task.logits)),
        *(tree, tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves)),
        tuple((array.shape[1:], array.dtype) for array in load if array is not None),
    )


def _compile(task: Task, sites: dict[str, jax.ShapeDtypeStruct], variables: Any, load: Batch) -> Program:
    micro_batches, size = load.label.shape
    deciding = any(_uses_prediction(task.statistics, spec, size) for spec in sites.values())

    def init() -> State:
        return {site: task.statistics.init(spec) for site, spec in sites.items()}, Counter.zeros()

    def step(number: jax.Array, carry: Any, variables: Any, load: Batch) -> Any:
        (states, images), faults = carry
        now = jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, number, keepdims=False), load)
        image, outputs, captures = task.look(variables, now.image)
        logits = task.decide(outputs)
        prediction = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        places = [image, *(captures[site] for site in task.sites), *([logits] if deciding else [])]
        states = {
            site: task.statistics.update(
                state, Observation(captures[site], now.label, prediction, now.index, now.valid)
            )
            for site, state in states.items()
        }
        fault = jnp.stack([_fault(place, now.valid) for place in places])
        return (states, images.add(now.valid.sum(dtype=jnp.uint32))), faults.at[number].set(fault)

    def run(state: State, variables: Any, load: Batch, number: jax.Array) -> tuple[State, jax.Array]:
        faults = jnp.zeros((micro_batches, 1 + len(sites) + deciding), bool)
        return lax.fori_loop(0, number, lambda at, carry: step(at, carry, variables, load), (state, faults))

    def finalize(state: State) -> dict[str, Result]:
        return {site: task.statistics.finalize(own) for site, own in state[0].items()}

    states = jax.eval_shape(init)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    return Program(
        backend.compiled(jax.jit(init).lower()),
        backend.compiled(
            jax.jit(run, donate_argnums=0, compiler_options=backend.compiler_options()).lower(
                states, variables, load, number
            )
        ),
        backend.compiled(jax.jit(finalize).lower(states)),
        micro_batches,
    )


def _fault(value: jax.Array, valid: jax.Array) -> jax.Array:
    """Whether any entry of the valid rows is not finite: x * 0 is NaN for these, and 0 for the others."""

    def update(fault: jax.Array, seen: Observation) -> jax.Array:
        zeros = jnp.where(per_image(seen.valid, seen.activation), seen.activation * 0, 0)
        return fault | jnp.isnan(zeros.sum(0)).any()

    none = jnp.zeros(len(valid), jnp.int32)
    return in_blocks(update)(jnp.zeros((), bool), Observation(value, none, none, none, valid))


def _uses_prediction(acc: Accumulator, spec: jax.ShapeDtypeStruct, batch: int) -> bool:
    """Whether the statistic looks at what the model decided; if not, that part of it is not computed."""

    def observe(activation: jax.Array) -> Observation:
        label = jnp.zeros(batch, jnp.int32)
        return Observation(activation, label, label, label, jnp.ones(batch, bool))

    seen = jax.eval_shape(observe, jax.ShapeDtypeStruct((batch, *spec.shape), spec.dtype))
    state = jax.eval_shape(lambda: acc.init(spec))
    jaxpr = jax.make_jaxpr(acc.update)(state, seen).jaxpr
    prediction = jaxpr.invars[len(jax.tree.leaves(state)) + Observation._fields.index("prediction")]
    needed = {var for var in jaxpr.outvars if not hasattr(var, "val")}
    for eqn in reversed(jaxpr.eqns):
        if needed.intersection(eqn.outvars):
            needed.update(var for var in eqn.invars if not hasattr(var, "val"))
    return prediction in needed


def _spec(leaf: Any) -> jax.ShapeDtypeStruct:
    aval = jax.typeof(leaf)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False))
