"""The CNN that a `ModelConfig` describes, as a Flax NNX module."""

from __future__ import annotations

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from pwact.models.architecture import Architecture
from pwact.models.config import ModelConfig
from pwact.nn.conv import Form
from pwact.nn.pool import Pool


class Block(nnx.Module):
    """Layer, norm, activation, pooling. Its sites: `conv`, `norm`, `relu`, `pool`, where they exist.

    A norm of the kernel is a module of the layer; an activation with parameters is `activation`.
    """

    def __init__(self, config: ModelConfig, place: int, form: Form, rngs: nnx.Rngs):
        inside = (config.image_shape[2], *config.widths)[place]
        width, stride = config.widths[place], config.strides[place]
        norm = config.method("norm")
        self.conv = config.method("layer").make(
            inside,
            width,
            config.kernel_size if place else config.first_kernel_size,
            stride=stride if config.pooling == "stride" else 1,
            use_bias=norm.bias,
            kernel_norm=norm.kernel,
            form=form,
            rngs=rngs,
        )
        self.norm = None if norm.layer is None else norm.layer(width, rngs)
        self.activation = config.method("activation").make(width, rngs)
        self.pool = Pool(config.pooling, stride) if config.pooling != "stride" and stride > 1 else None

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.activation(x)
        return x if self.pool is None else self.pool(x)


class CNN(nnx.Module):
    """Blocks and a linear head; logits [batch, class] from images [batch, row, column, channel]."""

    def __init__(self, config: ModelConfig, form: Form, rngs: nnx.Rngs):
        self.config = config
        self.blocks = nnx.List([Block(config, place, form, rngs) for place in range(len(config.widths))])
        rows, columns, width = config.map_shapes[-1]
        features = width if config.head == "gap" else rows * columns * width
        self.head = nnx.Linear(features, config.num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)) if self.config.head == "gap" else x.reshape(len(x), -1))


def build(config: Architecture, seed: Any, *, form: Form = "lax") -> nnx.Module:
    """A network with freshly drawn variables.

    Args:
        config: what to build, of any architecture.
        seed: an integer, a jax key, or `nnx.Rngs`. Same seed, same variables.
        form: the program of its convolutions (`pwact.nn.Conv`); the variables fit either.

    Returns:
        An `nnx.Module`; that of a `ModelConfig` has sites `blocks.0.conv`, `blocks.0.norm`, `blocks.0.relu`,
        `blocks.0.pool`, ..., `head`.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.models import ModelConfig, build
        >>> build(ModelConfig((8, 8, 1), 10, widths=(4,), strides=(2,)), 0)(jnp.zeros((2, 8, 8, 1))).shape
        (2, 10)
    """
    return config.build(seed if isinstance(seed, nnx.Rngs) else nnx.Rngs(params=seed), form=form)
