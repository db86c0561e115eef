"""The compiled programs: draw variables, train one epoch, compute logits. Seeds are the leading axis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from pwact.core import backend
from pwact.core.backend import SeedPlan
from pwact.core.probe import probe
from pwact.data.preprocess import Preprocess
from pwact.models.cnn import build
from pwact.models.config import ModelConfig
from pwact.train.recipe import Recipe
from pwact.train.treatment import Intervention, stream


class Carry(NamedTuple):
    """What training carries from step to step: parameters, running statistics, optimizer state."""

    params: Any
    rest: Any
    optimizer: Any


Epoch = Callable[..., tuple[Carry, np.ndarray, np.ndarray]]
"""(carry, keys [seed], epoch, images, labels [seed, image]) -> (carry, losses and accuracies [seed, step]).

The carry that is given is used up. Safe to call from several threads.
"""


@functools.lru_cache(maxsize=32)
def first(config: ModelConfig, recipe: Recipe, images: int) -> Callable[[Any], Carry]:
    """Jitted keys [seed] -> Carry: the variables and optimizer state before the first step."""
    optimizer = recipe.transformation(images)

    def one(key: Any) -> Carry:
        params, rest = nnx.split_state(nnx.state(build(config, key)), nnx.Param, ...)
        return Carry(params, rest, optimizer.init(params))

    return jax.jit(jax.vmap(one))


@functools.lru_cache(maxsize=32)
def training(
    config: ModelConfig,
    recipe: Recipe,
    preprocess: Preprocess,
    intervention: Intervention | None,
    plan: SeedPlan,
    images: int,
    dtype: str,
) -> Epoch:
    """One epoch for one group of seeds and so many images, compiled once a process."""
    optimizer = recipe.transformation(images)
    batch = min(recipe.batch_size, images)
    steps = recipe.steps_per_epoch(images)
    forward = _forward(config, intervention, plan.convolution, train=True)

    def loss(params: Any, rest: Any, image: jax.Array, label: jax.Array, key: Any) -> Any:
        outputs, variables = forward(nnx.merge_state(params, rest), preprocess(image), key)
        target = optax.smooth_labels(jax.nn.one_hot(label, config.num_classes), recipe.label_smoothing)
        value = optax.softmax_cross_entropy(outputs, target).mean()
        correct = (outputs.argmax(-1) == label).mean()
        return value, (nnx.split_state(variables, nnx.Param, ...)[1], correct)

    def step(carry: Carry, image: jax.Array, label: jax.Array, key: Any) -> Any:
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, (rest, correct)), slope = gradient(carry.params, carry.rest, image, label, key)
        change, state = optimizer.update(slope, carry.optimizer, carry.params)
        return Carry(optax.apply_updates(carry.params, change), rest, state), (value, correct)

    def schedule(keys: Any, number: jax.Array) -> Any:
        """For each step of an epoch: which images [step, seed, batch], and keys [step, seed]."""

        def drawn(purpose: str) -> Any:
            return jax.vmap(lambda key: jax.random.fold_in(stream(key, purpose), number))(keys)

        order = jax.vmap(lambda key: jax.random.permutation(key, images))(drawn("order"))
        places = order[:, : steps * batch].reshape(-1, steps, batch).swapaxes(0, 1)
        noise = jax.vmap(lambda key: jax.random.split(key, steps))(drawn("intervention")).swapaxes(0, 1)
        return places, noise

    def advance(carry: Carry, at: Any, pixels: jax.Array, labels: jax.Array) -> Any:
        places, noise = at
        return jax.vmap(step)(carry, pixels[places], jnp.take_along_axis(labels, places, 1), noise)

    def whole(carry: Carry, at: Any, pixels: jax.Array, labels: jax.Array) -> Any:
        return jax.lax.scan(lambda carry, at: advance(carry, at, pixels, labels), carry, at)

    def one(carry: Carry, at: Any, t: jax.Array, pixels: jax.Array, labels: jax.Array) -> Any:
        return advance(carry, jax.tree.map(lambda each: each[t], at), pixels, labels)

    # Compiled here rather than at the first call: threads that call at once would each compile.
    number = jax.ShapeDtypeStruct((), jnp.int32)
    keys = _keys(plan.together)
    start = (
        jax.eval_shape(first(config, recipe, images), keys),
        jax.eval_shape(schedule, keys, number),
    )
    data = (
        jax.ShapeDtypeStruct((images, *config.image_shape), dtype),
        jax.ShapeDtypeStruct((plan.together, images), jnp.int32),
    )
    plans = backend.compiled(jax.jit(schedule).lower(keys, number))
    if plan.scan:
        run = backend.compiled(jax.jit(whole, donate_argnums=0).lower(*start, *data))

        def epoch(carry: Carry, keys: Any, number: int, pixels: jax.Array, labels: jax.Array) -> Any:
            carry, (losses, correct) = run(carry, plans(keys, jnp.int32(number)), pixels, labels)
            return carry, np.asarray(losses).T, np.asarray(correct).T

        return epoch

    run = backend.compiled(jax.jit(one, donate_argnums=0).lower(*start, number, *data))
    places = [jnp.int32(t) for t in range(steps)]

    def stepwise(carry: Carry, keys: Any, number: int, pixels: jax.Array, labels: jax.Array) -> Any:
        at = plans(keys, jnp.int32(number))
        found = []
        for t in places:
            carry, scores = run(carry, at, t, pixels, labels)
            found.append(scores)
        losses, correct = np.moveaxis(np.array(found), 0, -1)
        return carry, losses, correct

    return stepwise


@functools.lru_cache(maxsize=32)
def logits(
    config: ModelConfig,
    preprocess: Preprocess,
    intervention: Intervention | None,
    seeds: int,
    images: int,
    dtype: str,
) -> Callable[..., Any]:
    """Compiled (variables [seed], images, keys [seed]) -> logits [seed, image, class], in evaluation mode."""
    forward = _forward(config, intervention, "lax", train=False)

    def one(variables: Any, image: jax.Array, key: Any) -> jax.Array:
        return forward(variables, preprocess(image), key)[0]

    def state(_: Any) -> Any:
        return nnx.state(build(config, 0))

    arguments = (
        jax.eval_shape(jax.vmap(state), jax.ShapeDtypeStruct((seeds,), jnp.uint32)),
        jax.ShapeDtypeStruct((images, *config.image_shape), dtype),
        _keys(seeds),
    )
    return backend.compiled(jax.jit(jax.vmap(one, in_axes=(0, None, 0))).lower(*arguments))


def _keys(seeds: int) -> Any:
    """The shape of one key a seed."""
    return jax.eval_shape(jax.vmap(jax.random.key), jax.ShapeDtypeStruct((seeds,), jnp.uint32))


def _forward(
    config: ModelConfig, intervention: Intervention | None, form: Literal["lax", "slices"], train: bool
) -> Callable[..., Any]:
    """(variables, preprocessed images, key) -> (logits, variables with new running statistics)."""
    model = nnx.eval_shape(lambda: build(config, 0, form=form))
    model.train() if train else model.eval()
    graph = nnx.graphdef(model)
    if intervention is None:

        def plain(variables: Any, image: jax.Array, key: Any) -> Any:
            network = nnx.merge(graph, variables, copy=True)
            outputs = network(image)
            return outputs, nnx.state(network)

        return plain

    image = jax.ShapeDtypeStruct((1, *config.image_shape), jnp.float32)
    probed = probe(model, image, mode="training" if train else "evaluation")

    def edited(variables: Any, image: jax.Array, key: Any) -> Any:
        edits = {intervention.site: functools.partial(intervention.fn, key)}
        outputs, _ = probed.run(variables, image, edits=edits)
        return outputs if train else (outputs, variables)

    return edited
