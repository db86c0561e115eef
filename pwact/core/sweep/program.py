"""The compiled program of a sweep: one load of images into the states of the statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pwact.core import backend
from pwact.core.accumulator import Result, State
from pwact.core.blocks import any_not_finite
from pwact.core.counter import Counter
from pwact.core.memory import remembered
from pwact.core.sweep.task import Look, Shapes, Task, shapes, spec_of, task_key
from pwact.types import Batch

States = dict[str, dict[str, State]]
"""Of every statistic, by node and name."""


class Program(NamedTuple):
    """A task, compiled for one shape of load.

    Args:
        init: () -> the states before the first image, and the count of images.
        run: (states and count, variables, load in micro-batches, how many of them) -> the same, faults.
        micro_batches: that a full load holds.
    """

    init: Callable[[], tuple[States, Counter]]
    run: Callable[[tuple[States, Counter], Any, Batch, Any], tuple[tuple[States, Counter], jax.Array]]
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
        return _compile(task, shapes(task, variables, load), jax.tree.map(spec_of, variables), batch)

    return remembered(task.probe, ("program", shape, task_key(task, variables, load)), compile_it)


def results(task: Task, states: States) -> dict[str, Result]:
    """Of each node the result of each statistic, its arrays called `statistic.array`."""
    found = _finalize(task, states)
    return {
        node.name: {
            f"{name}.{array}": value
            for name, _ in node.statistics
            for array, value in found[node.name][name].items()
        }
        for node in task.nodes
    }


def advance(task: Task, states: States) -> States:
    """The states that a further pass over the dataset begins with."""
    return _compiled_for(task, states, "advance", lambda acc, state: acc.advance(state))


def places(task: Task, used: frozenset[str]) -> list[str]:
    """Where something that is not finite is looked for, in the order of the model's program."""
    slopes = [f"the gradient at '{site}'" for site in task.sites] if "gradient" in used else []
    logits = ["the logits"] if used & {"prediction", "logits", "gradient"} else []
    return ["the image that the model sees", *task.sites, *logits, *slopes]


def values(task: Task, used: frozenset[str], look: Look) -> list[jax.Array]:
    """The values at `places`."""
    slopes = [look.gradients[site] for site in task.sites] if look.gradients else []
    logits = [look.logits] if used & {"prediction", "logits", "gradient"} else []
    return [look.image, *(look.captures[site] for site in task.sites), *logits, *slopes]


def _finalize(task: Task, states: States) -> Any:
    return _compiled_for(task, states, "finalize", lambda acc, state: acc.finalize(state))


def _compiled_for(task: Task, states: States, what: str, apply: Callable[[Any, State], Any]) -> Any:
    def every(states: States) -> Any:
        return {
            node.name: {name: apply(acc, states[node.name][name]) for name, acc in node.statistics}
            for node in task.nodes
        }

    leaves, tree = jax.tree.flatten(jax.tree.map(spec_of, states))
    key = (what, task.nodes, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    return remembered(task.probe, key, lambda: backend.compiled(jax.jit(every).lower(states)))(states)


def _compile(task: Task, known: Shapes, variables: Any, load: Batch) -> Program:
    micro_batches, _ = load.label.shape

    def init() -> tuple[States, Counter]:
        return {
            node.name: {name: acc.init(known.of(node)) for name, acc in node.statistics}
            for node in task.nodes
        }, Counter.zeros()

    def step(number: jax.Array, carry: Any, variables: Any, load: Batch) -> Any:
        (states, images), faults = carry
        now = jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, number, keepdims=False), load)
        look = task.look(variables, now.image, now.label, "gradient" in known.used)
        seen = {node.name: look.observation(node, now) for node in task.nodes}
        states = {
            node.name: {
                name: acc.update(states[node.name][name], seen[node.name]) for name, acc in node.statistics
            }
            for node in task.nodes
        }
        fault = jnp.stack([any_not_finite(value, now.valid) for value in values(task, known.used, look)])
        return (states, images.add(now.valid.sum(dtype=jnp.uint32))), faults.at[number].set(fault)

    def run(state: Any, variables: Any, load: Batch, number: jax.Array) -> Any:
        faults = jnp.zeros((micro_batches, len(places(task, known.used))), bool)
        return lax.fori_loop(0, number, lambda at, carry: step(at, carry, variables, load), (state, faults))

    states = jax.eval_shape(init)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    options = backend.compiler_options()
    return Program(
        backend.compiled(jax.jit(init).lower()),
        backend.compiled(
            jax.jit(run, donate_argnums=0, compiler_options=options).lower(states, variables, load, number)
        ),
        micro_batches,
    )
