"""The compiled program of a sweep: one load of images into the states of the statistics.

It is the same one on every reading of the dataset: a second program might round the activations another
way, and a count of what lies above a quantile would not be one. What a statistic has finished stays as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import SingleDeviceSharding

from pwact.core import backend
from pwact.core.accumulator import Result, State
from pwact.core.caching import remembered
from pwact.core.streaming.blocks import any_not_finite
from pwact.core.streaming.counter import Counter
from pwact.core.sweep.mesh import Layout, layout
from pwact.core.sweep.task import Look, Shapes, Task, shapes, spec_of, task_key
from pwact.types import Batch

States = dict[str, dict[str, State]]
"""Of every statistic, by node and name."""


class Program(NamedTuple):
    """A task, compiled for one shape of load and all readings.

    Args:
        init: () -> the states before the first image, and the count of images.
        run: (states and count, variables, load in micro-batches, how many of them, number of the reading)
            -> states and count, faults.
        joined: (states and count, number of the reading) -> the states of all devices together.
        begun: the states that a reading begins with -> states and count.
        micro_batches: that a full load holds.
        text: sha256 of what `init` and `run` were compiled from.
        memory: what the compiler says that `run` takes on a device.
        seconds: that compiling took.
    """

    init: Callable[[], tuple[States, Counter]]
    run: Callable[[tuple[States, Counter], Any, Batch, int, int], tuple[tuple[States, Counter], jax.Array]]
    joined: Callable[[tuple[States, Counter], int], States]
    begun: Callable[[States], tuple[States, Counter]]
    micro_batches: int
    text: str
    memory: Any
    seconds: float


def compiled(task: Task, setting: backend.Setting, variables: Any, load: Batch, batch_size: int) -> Program:
    """The program for this task and setting: from memory if the same was asked for before.

    Args:
        task: what to compute.
        setting: how many images at once, and with which options.
        variables: one set; others of the same shapes use the same program.
        load: one load of images on the host, for shapes and dtypes.
        batch_size: images of a full load.
    """
    key = ("program", setting, batch_size, task_key(task, variables, load))
    return remembered(
        task.probe, key, lambda: _compile(task, _lower(task, setting, variables, load, batch_size))
    )


def text(task: Task, setting: backend.Setting, variables: Any, load: Batch, batch_size: int) -> str:
    """The `text` of the program that `compiled` would return; nothing is compiled."""
    return _lower(task, setting, variables, load, batch_size).text


def text_of_ends(task: Task, variables: Any, load: Batch) -> str:
    """The sha256 of what follows each reading of the dataset, the same in every process."""
    known = shapes(task, variables, load)
    states = state_specs(task, known)
    further = task.on_pass(1)
    ends = [_lowered_for(task, states, "finalize")]
    if further.nodes:
        ends.append(_lowered_for(further, only(further, states), "advance"))
    return _sha256(*ends)


def only(task: Task, states: States) -> States:
    """The states of this task's statistics."""
    return {node.name: {name: states[node.name][name] for name, _ in node.statistics} for node in task.nodes}


def replaced(states: States, new: States) -> States:
    """All states, with new ones where there are some."""
    return {node: own | new.get(node, {}) for node, own in states.items()}


def results(task: Task, states: States) -> dict[str, Result]:
    """Of each node the result of each statistic, its arrays called `statistic.array`, on the host."""
    found = ending(task, states, "finalize")(states)
    return {
        node.name: {
            f"{name}.{array}": dataclasses.replace(value, values=np.asarray(value.values))
            for name, _ in node.statistics
            for array, value in found[node.name][name].items()
        }
        for node in task.nodes
    }


def advance(task: Task, states: States) -> States:
    """The states that a further pass over the dataset begins with."""
    return ending(task, states, "advance")(states)


def merged(task: Task, left: States, right: States) -> States:
    """The states of all images that went into either."""

    def every(left: States, right: States) -> States:
        return {
            node.name: {
                name: acc.merge(left[node.name][name], right[node.name][name])
                for name, acc in node.statistics
            }
            for node in task.nodes
        }

    key = ("merge", task.nodes, *_spec_key(left))
    return remembered(task.probe, key, lambda: backend.compiled(jax.jit(every).lower(left, right)))(
        left, right
    )


def ending(task: Task, states: Any, what: Literal["finalize", "advance"]) -> Any:
    """One of the last steps of every statistic, compiled for states of these shapes."""
    key = (what, task.nodes, *_spec_key(states))
    return remembered(task.probe, key, lambda: backend.compiled(_lowered_for(task, states, what)))


def places(task: Task, used: frozenset[str]) -> list[str]:
    """Where something that is not finite is looked for, in the order of the model's program."""
    slopes = [f"the gradient at '{site}'" for site in task.sites] if "gradient" in used else []
    logits = ["the logits"] if used & {"prediction", "logits", "gradient"} else []
    return ["the image that the model sees", *task.sites, *logits, *slopes]


def values(task: Task, used: frozenset[str], look: Look) -> list[Any]:
    """The values at `places`."""
    slopes = [look.gradients[site] for site in task.sites] if look.gradients else []
    logits = [look.logits] if used & {"prediction", "logits", "gradient"} else []
    return [look.image, *(look.captures[site] for site in task.sites), *logits, *slopes]


class _Lowered(NamedTuple):
    init: Any
    run: Any
    where: Layout
    micro_batches: int

    @property
    def text(self) -> str:
        return _sha256(self.init, self.run)


def _sha256(*lowered: Any) -> str:
    return hashlib.sha256("".join(one.as_text() for one in lowered).encode()).hexdigest()


def _lowered_for(task: Task, states: States, what: str) -> Any:
    return jax.jit(_each(task, what)).lower(states)


def _each(task: Task, what: str) -> Callable[[States], Any]:
    """One of the functions of every statistic, by its name in `Accumulator`."""

    def every(states: States) -> Any:
        return {
            node.name: {name: getattr(acc, what)(states[node.name][name]) for name, acc in node.statistics}
            for node in task.nodes
        }

    return every


def _spec_key(tree: Any) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((leaf.shape, leaf.dtype, getattr(leaf, "sharding", None)) for leaf in leaves)


def state_specs(task: Task, known: Shapes) -> Any:
    """The states of all devices together, as shapes and dtypes, and where they lie if there is one device."""
    states = jax.eval_shape(lambda: _init(task, known))
    if len(task.devices) > 1:
        return states
    where = SingleDeviceSharding(task.devices[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where, weak_type=leaf.weak_type),
        states,
    )


def result_specs(task: Task, states: Any) -> Any:
    """The results of states of these shapes, as shapes and dtypes."""
    return jax.eval_shape(_each(task, "finalize"), states)


def _init(task: Task, known: Shapes) -> States:
    return {
        node.name: {name: acc.init(known.of(node)) for name, acc in node.statistics} for node in task.nodes
    }


def _compile(task: Task, lowered: _Lowered) -> Program:
    started = time.perf_counter()
    where, init, run = lowered.where, backend.compiled(lowered.init), backend.compiled(lowered.run)
    taken = time.perf_counter() - started

    def dealt(carry: Any, variables: Any, load: Batch, number: int, reading: int) -> Any:
        turns = np.int32(-(-number // where.devices))
        return run(carry, variables, where.deal(load), (turns, np.int32(reading)))

    def joined(carry: Any, reading: int) -> States:
        return carry[0] if where.devices == 1 else join(carry[0], reading)

    def begun(states: States) -> Any:
        return (states, Counter.zeros()) if where.devices == 1 else begin(states)

    nodes = task.nodes  # and not the task, which would keep the probe alive
    join = jax.jit(lambda states, reading: where.joined(nodes, states, reading), static_argnums=1)
    begin = jax.jit(lambda states: where.spread(nodes, (states, Counter.zeros())), out_shardings=where.carry)
    memory = run.memory_analysis()
    return Program(init, dealt, joined, begun, lowered.micro_batches, lowered.text, memory, taken)


def _lower(task: Task, setting: backend.Setting, variables: Any, load: Batch, batch_size: int) -> _Lowered:
    known = shapes(task, variables, load)
    where = layout(task, known)
    micro_batches = -(-batch_size // (setting.micro_batch * where.devices)) * where.devices
    shape = (micro_batches, setting.micro_batch)

    def init() -> tuple[States, Counter]:
        return where.spread(task.nodes, (_init(task, known), Counter.zeros()))

    def step(number: jax.Array, carry: Any, variables: Any, load: Batch, reading: jax.Array) -> Any:
        (states, images), faults = carry
        now = jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, number, keepdims=False), load)
        look = task.look(variables, now.image, now.label, "gradient" in known.used)
        states = {
            node.name: where.updated(
                node, states[node.name], look.observation(node, now), reading, task.passes
            )
            for node in task.nodes
        }
        fault = jnp.stack([any_not_finite(value, now.valid) for value in values(task, known.used, look)])
        return (states, images.add(now.valid.sum(dtype=jnp.uint32))), faults.at[number].set(fault)

    def run(state: Any, variables: Any, load: Batch, turns: tuple[jax.Array, jax.Array]) -> Any:
        number, reading = turns
        faults = jnp.zeros((len(load.label), len(places(task, known.used))), bool)
        return lax.fori_loop(
            0, number, lambda at, carry: step(at, carry, variables, load, reading), (state, faults)
        )

    batch = jax.tree.map(lambda array: jax.ShapeDtypeStruct((*shape, *array.shape[1:]), array.dtype), load)
    jitted = jax.jit(
        where.shared(task.nodes, run, micro_batches),
        donate_argnums=0,
        compiler_options=dict(setting.options),
    )
    number = jax.ShapeDtypeStruct((), jnp.int32)
    return _Lowered(
        jax.jit(init, out_shardings=where.carry).lower(),
        jitted.lower(
            *where.specs(jax.eval_shape(init), jax.tree.map(spec_of, variables), batch), (number, number)
        ),
        where,
        micro_batches,
    )
