"""The grid as a script in Flax NNX: a loop over networks, epochs and batches around a jitted step."""

from __future__ import annotations

import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from serving import Work, serve


class Network(nnx.Module):
    def __init__(self, work: Work, network: dict[str, Any], rngs: nnx.Rngs):
        before, norm = work.images.shape[-1], network["norm"] == "batch"
        convs, norms = [], []
        for place, (width, stride) in enumerate(zip(work.channels(network), work.strides, strict=True)):
            size = 3 if place else 5
            convs.append(
                nnx.Conv(
                    before,
                    width,
                    (size, size),
                    stride,
                    use_bias=not norm,
                    kernel_init=nnx.initializers.he_normal(),
                    rngs=rngs,
                )
            )
            norms.append(nnx.BatchNorm(width, momentum=0.9, rngs=rngs) if norm else None)
            before = width
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        self.head = nnx.Linear(before, int(work.labels.max()) + 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x)
            x = nnx.relu(x if norm is None else norm(x))
        return self.head(x.mean((1, 2)))


@nnx.jit
def step(model: Network, optimizer: nnx.Optimizer, image: jax.Array, label: jax.Array) -> jax.Array:
    def loss(model: Network) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(image), label).mean()

    value, gradient = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradient)
    return value


@nnx.jit
def hits(model: Network, image: jax.Array, label: jax.Array) -> jax.Array:
    return (model(image).argmax(-1) == label).sum()


@functools.cache
def transformation(rate: float, shares: tuple[float, ...], decay: float, clip: float) -> Any:
    """One object for equal settings, so that networks that share them share a program."""
    schedule = jnp.asarray(shares)
    return optax.chain(
        optax.clip_by_global_norm(clip),
        optax.adamw(
            lambda t: rate * schedule[t],
            weight_decay=decay,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )


def accuracy(model: Network, images: np.ndarray, labels: np.ndarray) -> float:
    model.eval()
    starts = range(0, len(images), 256)
    found = [hits(model, images[at : at + 256], labels[at : at + 256]) for at in starts]
    return float(sum(int(one) for one in found)) / len(labels)


def train(work: Work) -> list[float]:
    plan, found = work.schedule, []
    shares = tuple(work.rate(t) for t in range(work.steps * plan["epochs"]))
    for network in work.networks:
        rng = np.random.default_rng(network["seed"])
        model = Network(work, network, nnx.Rngs(network["seed"]))
        change = transformation(network["learning_rate"], shares, plan["weight_decay"], plan["clip_norm"])
        optimizer = nnx.Optimizer(model, change, wrt=nnx.Param)
        for _ in range(plan["epochs"]):
            model.train()
            order = rng.permutation(len(work.images))
            for t in range(work.steps):
                at = order[t * plan["batch_size"] : (t + 1) * plan["batch_size"]]
                step(model, optimizer, work.images[at], work.labels[at])
            held_out = accuracy(model, work.test_images, work.test_labels)
        accuracy(model, work.images, work.labels)
        found.append(held_out)
    return found


if __name__ == "__main__":
    serve(train, f"flax={flax.__version__} jax={jax.__version__}")
