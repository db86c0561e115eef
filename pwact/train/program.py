"""The compiled programs: draw variables, order an epoch, take steps, compute logits.

Networks of one group are the leading axis of everything. Nothing here loops over images or epochs.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pwact.core import backend
from pwact.core.backend import SeedPlan
from pwact.data.augment import image_keys
from pwact.data.preprocess import Preprocess
from pwact.models.architecture import Architecture
from pwact.regularizers.penalty import Penalty
from pwact.train.forward import forward
from pwact.train.order import epoch_order
from pwact.train.recipe import NUMBERS, Recipe
from pwact.train.treatment import Intervention, stream, stream_keys

Scores = dict[str, Any]
"""By name, one number a network: `loss`, `accuracy`, `good`, and what the update rule logs."""


class Carry(NamedTuple):
    """What training carries from step to step.

    Args:
        params, rest: the parameters, and what is no parameter: running statistics.
        optimizer: state of the optax transformation.
        average: moving average of the parameters; None without one.
        callbacks: their states.
        alive: false from the first step on whose loss or parameters were not finite; that step and all
            later ones change nothing.
    """

    params: Any
    rest: Any
    optimizer: Any
    average: Any
    callbacks: tuple[Any, ...]
    alive: Any


class Keys(NamedTuple):
    """One key a network for each stream that steps draw from."""

    order: Any
    augmentation: Any
    dropout: Any

    @classmethod
    def of(cls, members: Any) -> Keys:
        return cls(*(stream_keys(members, name) for name in cls._fields))


@dataclasses.dataclass(frozen=True)
class Task:
    """What a group's programs depend on; equal tasks share them.

    Args:
        config: the architecture.
        recipe: its structure (`Recipe.structure`); the numbers are arguments.
        preprocess: from stored pixels to what the networks see.
        interventions: edits in place.
        plan: how networks are grouped, and on how many devices.
        images: in the training set.
        dtype: of stored pixels.
        resident: whether all images are on the device, or each step is given its own.
    """

    config: Architecture
    recipe: Recipe
    preprocess: Preprocess
    interventions: tuple[Intervention, ...]
    plan: SeedPlan
    images: int
    dtype: str
    resident: bool

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return self.recipe.steps_per_epoch(self.images)

    @property
    def size(self) -> int:
        """Images a step."""
        return self.recipe.images_per_step(self.images)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.config.image_shape)

    def sharding(self, *axes: str | None) -> NamedSharding | None:
        """Where an array lies whose axes are split like this; None with one device."""
        if self.plan.devices == 1:
            return None
        mesh = Mesh(np.array(jax.devices()[: self.plan.devices]), ("data",))
        return NamedSharding(mesh, PartitionSpec(*axes))


@functools.lru_cache(maxsize=64)
def first(task: Task) -> Callable[..., Carry]:
    """Jitted (keys [network], numbers) -> Carry before the first step."""

    def one(key: Any, numbers: Any) -> Carry:
        state = nnx.state(task.config.build(nnx.Rngs(params=key)))
        params, rest = nnx.split_state(state, nnx.Param, ...)
        return begin(task, params, rest, numbers)

    return jax.jit(jax.vmap(one))


@functools.lru_cache(maxsize=64)
def begun(task: Task) -> Callable[..., Carry]:
    """Jitted (params, rest, numbers) -> Carry before the first step, from variables that are given."""
    return jax.jit(jax.vmap(functools.partial(begin, task)))


def begin(task: Task, params: Any, rest: Any, numbers: Any) -> Carry:
    """The carry of one network before its first step."""
    optimizer = task.recipe.transformation(numbers, task.images)
    states = tuple(each.init(params) for each in task.recipe.method("callbacks"))
    average = params if task.recipe.ema else None
    return Carry(params, rest, optimizer.init(params), average, states, jnp.array(True))


@functools.lru_cache(maxsize=64)
def ordering(task: Task) -> Callable[..., Any]:
    """Compiled (keys [network], labels [network, image], epoch) -> places [network, step, image]."""
    batches = task.recipe.method("update").batches

    def one(key: Any, labels: jax.Array, epoch: jax.Array) -> jax.Array:
        places = epoch_order(
            jax.random.fold_in(key, epoch),
            labels,
            steps=task.steps * batches,
            size=task.size // batches,
            num_classes=task.config.num_classes,
            sampling=task.recipe.sampling,
        )
        return places.reshape(task.steps, task.size)

    labels = jax.ShapeDtypeStruct((task.plan.together, task.images), jnp.int32)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    return backend.compiled(
        jax.jit(jax.vmap(one, in_axes=(0, 0, None))).lower(_keys(task.plan.together), labels, number)
    )


@functools.lru_cache(maxsize=64)
def stepping(task: Task) -> Callable[..., Any]:
    """Compiled steps of one epoch for one group.

    (carry, numbers, keys, labels, places, epoch, begin, end, images) -> (carry, scores [step, network]).
    `images` are all of them where they are resident, else a function of (begin, end) that gives those of each
    step [network, image]. The carry that is given is used up. Safe to call from several threads.
    """
    advance = _advance(task)
    together = task.plan.together
    keys = Keys(*[_keys(together)] * len(Keys._fields))
    numbers = {name: jax.ShapeDtypeStruct((together,), jnp.float32) for name in NUMBERS}
    carry = jax.eval_shape(first(task), _keys(together), numbers)
    labels = jax.ShapeDtypeStruct((together, task.images), jnp.int32)
    places = jax.ShapeDtypeStruct((together, task.steps, task.size), jnp.int32)
    leading = (task.images,) if task.resident else (together, task.size)
    shared = task.sharding() if task.resident else task.sharding(None, "data")
    images = jax.ShapeDtypeStruct((*leading, *task.image_shape), task.dtype, sharding=shared)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    fixed = _replicated(task, (carry, numbers, keys, labels, places, number))

    if task.plan.scan and task.resident:
        scores = jax.eval_shape(advance, *fixed, number, images)[1]

        def loop(*arguments: Any) -> Any:
            *start, begin, end, images = arguments
            empty = jax.tree.map(lambda leaf: jnp.zeros((task.steps, *leaf.shape), leaf.dtype), scores)

            def body(t: jax.Array, state: Any) -> Any:
                carry, kept = state
                carry, found = advance(carry, *start[1:], t, images)
                return carry, jax.tree.map(lambda buffer, value: buffer.at[t].set(value), kept, found)

            return jax.lax.fori_loop(begin, end, body, (start[0], empty))

        compiled = backend.compiled(
            jax.jit(loop, donate_argnums=0).lower(*fixed, *_replicated(task, (number, number)), images)
        )

        def whole(carry: Carry, *rest: Any) -> tuple[Carry, Scores]:
            *fixed, epoch, begin, end, images = rest
            carry, scores = compiled(
                *_placed(task, (carry, *fixed, jnp.int32(epoch), jnp.int32(begin), jnp.int32(end))), images
            )
            return carry, {name: np.asarray(value)[begin:end] for name, value in scores.items()}

        return whole

    compiled = backend.compiled(
        jax.jit(advance, donate_argnums=0).lower(*fixed, *_replicated(task, (number,)), images)
    )

    def stepwise(carry: Carry, *rest: Any) -> tuple[Carry, Scores]:
        *fixed, epoch, begin, end, images = rest
        carry, *fixed, epoch = _placed(task, (carry, *fixed, jnp.int32(epoch)))
        found = []
        feed = itertools.repeat(images) if task.resident else images(begin, end)
        for t in range(begin, end):
            own = next(feed)
            carry, scores = compiled(carry, *fixed, epoch, *_placed(task, (jnp.int32(t),)), own)
            found.append(scores)
        return carry, {name: np.array([scores[name] for scores in found]) for name in found[0]}

    return stepwise


def _advance(task: Task) -> Callable[..., tuple[Carry, Scores]]:
    """One step of every network of a group."""
    recipe = task.recipe
    rule, objective = recipe.method("update"), recipe.method("objective")
    penalties = [each for each in recipe.method("regularizers") if isinstance(each, Penalty)]
    callbacks, augment = recipe.method("callbacks"), recipe.method("augment")
    network = forward(task.config, task.interventions, task.plan.convolution, True, recipe.precision)
    total = recipe.steps(task.images)

    def step(
        carry: Carry,
        numbers: Any,
        keys: Keys,
        label: jax.Array,
        places: jax.Array,
        epoch: jax.Array,
        t: jax.Array,
        image: jax.Array,
    ) -> tuple[Carry, Scores]:
        at = epoch * task.steps + t
        rate = numbers["learning_rate"] * recipe.rate(at, task.images)
        noise = jax.random.fold_in(jax.random.fold_in(keys.dropout, epoch), t)
        if augment is not None:
            drawn = jax.random.fold_in(keys.augmentation, epoch)
            if recipe.sampling == "balanced":  # an image may come twice in an epoch
                drawn = jax.random.fold_in(drawn, t)
            image = augment(image, image_keys(drawn, places))

        def part(params: Any, rest: Any, image: jax.Array, label: jax.Array, key: Any) -> Any:
            outputs, variables = network(nnx.merge_state(params, rest), task.preprocess(image), key)
            value = objective.loss(outputs, label, jnp.ones(len(label), bool), at)
            return value, nnx.split_state(variables, nnx.Param, ...)[1], (outputs.argmax(-1) == label).mean()

        def loss(params: Any, batch: Any, key: Any) -> Any:
            image, label = batch
            parts = recipe.accumulate
            compute = part if parts == 1 else jax.checkpoint(part)
            values, shares, rest = [], [], carry.rest
            for place in range(parts):
                own = jax.random.fold_in(stream(key, "parts"), place)
                value, rest, share = compute(params, rest, image[place::parts], label[place::parts], own)
                values.append(value)
                shares.append(share)
            value = sum(values) / parts
            penalty = sum(each.value(params, at) for each in penalties)
            return value + penalty, (rest, value, sum(shares) / parts)

        size = len(image) // rule.batches
        batches = tuple(
            (image[i * size : (i + 1) * size], label[i * size : (i + 1) * size]) for i in range(rule.batches)
        )
        streams = tuple(jax.random.split(stream(noise, "batches"), rule.batches))
        summed, (rest, value, share), slope, logs = rule.gradient(loss, carry.params, batches, streams, rate)
        change, optimizer = recipe.transformation(numbers, task.images).update(
            slope, carry.optimizer, carry.params
        )
        params = jax.tree.map(lambda leaf, by: leaf + by.astype(leaf.dtype), carry.params, change)
        states = []
        for place, (each, state) in enumerate(zip(callbacks, carry.callbacks, strict=True)):
            own = jax.random.fold_in(stream(noise, "callbacks"), place)
            state, params = _called(each, state, params, at, total, own, t == task.steps - 1)
            states.append(state)
        average = carry.average
        if recipe.ema:
            decay = jnp.minimum(recipe.ema, (1 + at) / (10 + at))
            average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, params)
        squares = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(params))
        good = carry.alive & jnp.isfinite(summed) & jnp.isfinite(squares)
        new = Carry(params, rest, optimizer, average, tuple(states), good)
        kept = jax.tree.map(lambda after, before: jnp.where(good, after, before), new, carry)
        return kept, {"loss": value, "accuracy": share, "good": good, **logs}

    def advance(
        carry: Carry,
        numbers: Any,
        keys: Keys,
        labels: jax.Array,
        places: jax.Array,
        epoch: jax.Array,
        t: jax.Array,
        images: jax.Array,
    ) -> tuple[Carry, Scores]:
        at = places[:, t]
        own = images[at] if task.resident else images
        split = task.sharding(None, "data")
        if split is not None:
            own = jax.lax.with_sharding_constraint(own, split)
        return jax.vmap(step, in_axes=(0, 0, 0, 0, 0, None, None, 0))(
            carry, numbers, keys, jnp.take_along_axis(labels, at, 1), at, epoch, t, own
        )

    return advance


def _called(
    callback: Any, state: Any, params: Any, step: jax.Array, steps: int, key: Any, last: jax.Array
) -> tuple[Any, Any]:
    """A callback after a step, where its turn has come."""

    def call(state: Any, params: Any) -> Any:
        return callback.update(state, params, step, jnp.int32(steps), key)

    if callback.every == "step":
        return call(state, params)
    return jax.lax.cond(last, call, lambda state, params: (state, params), state, params)


@functools.lru_cache(maxsize=64)
def logits(
    config: Architecture,
    preprocess: Preprocess,
    interventions: tuple[Intervention, ...],
    networks: int,
    images: int,
    dtype: str,
) -> Callable[..., Any]:
    """Compiled (variables [network], images, keys [network]) -> logits [network, image, class]."""
    network = forward(config, interventions, "lax", False, "float32")

    def one(variables: Any, image: jax.Array, key: Any) -> jax.Array:
        return network(variables, preprocess(image), key)[0]

    def state(_: Any) -> Any:
        return nnx.state(config.build(nnx.Rngs(params=0)))

    arguments = (
        jax.eval_shape(jax.vmap(state), jax.ShapeDtypeStruct((networks,), jnp.uint32)),
        jax.ShapeDtypeStruct((images, *config.image_shape), dtype),
        _keys(networks),
    )
    return backend.compiled(jax.jit(jax.vmap(one, in_axes=(0, None, 0))).lower(*arguments))


def numbers_of(recipe: Recipe, members: Any) -> dict[str, np.ndarray]:
    """The recipe's numbers [network], each network's own where it has one."""
    return {
        name: np.array([member.numbers.get(name, getattr(recipe, name)) for member in members], np.float32)
        for name in NUMBERS
    }


def _keys(networks: int) -> Any:
    """The shape of one key a network."""
    return jax.eval_shape(jax.vmap(jax.random.key), jax.ShapeDtypeStruct((networks,), jnp.uint32))


def _replicated(task: Task, shapes: Any) -> Any:
    """Shapes of arrays that every device holds whole."""
    everywhere = task.sharding()
    if everywhere is None:
        return shapes
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), shapes
    )


def _placed(task: Task, arrays: Any) -> Any:
    everywhere = task.sharding()
    return arrays if everywhere is None else jax.device_put(arrays, everywhere)
