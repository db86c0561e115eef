"""VGG networks, with the published head or one for small images."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from pwact.models.checks import check_choice, check_ends, check_positive, check_size
from pwact.models.parts import Parts, entered_norm
from pwact.nn.conv import Form
from pwact.nn.norms import Norm
from pwact.nn.pool import Pool

GRID = 7
"""Rows and columns that the large head is given."""


@dataclasses.dataclass(frozen=True)
class VGG:
    """Stages of 3x3 convolutions with ReLU, a 2x2 max-pool after each, and a head.

    `vgg` gives the published ones. The published dropout of the head is not part of the network: it is an
    edit of `hidden.0` and `hidden.1` in training.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        stages: for each stage the channels of its convolutions.
        norm: of `pwact.nn.norms`, with every convolution, which keeps its bias.
        head: `large` averages the last map over a grid of 7x7 cells, flattens it and has two hidden layers;
            `small` averages over the whole of it, in place of the last pool, and is linear.
        hidden: units in each hidden layer of the large head.

    Raises:
        PwactError: a field that makes no network, or an image that the pools leave nothing of.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.models import VGG, build
        >>> small = VGG((8, 8, 1), 2, stages=((4,), (8, 8)), head="small")
        >>> build(small, 0)(jnp.zeros((3, 8, 8, 1))).shape
        (3, 2)

    Reference: K. Simonyan, A. Zisserman, Very deep convolutional networks for large-scale image recognition,
    ICLR 2015. The 7x7 cells for images of any size are torchvision's.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    stages: tuple[tuple[int, ...], ...]
    norm: str | Norm = "none"
    head: Literal["large", "small"] = "large"
    hidden: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        check_positive("stages", self.stages)
        check_positive("hidden", self.hidden)
        check_choice("head", self.head, ("large", "small"))
        object.__setattr__(self, "norm", entered_norm(self.norm))
        pools = len(self.stages) - (self.head == "small")
        check_size("this VGG", self.image_shape, 2**pools, "use head='small', fewer stages or larger images")

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        return Stack(self, Parts(self.norm, form, rngs))


def vgg(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 16,
    norm: str | Norm = "none",
    head: Literal["large", "small"] | None = None,
) -> VGG:
    """The VGG of 11, 13, 16 or 19 layers.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.
        depth: 11, 13, 16 or 19 (configurations A, B, D, E).
        norm: of `pwact.nn.norms`; the paper had none, torchvision's `_bn` networks have `batch`.
        head: `large` is the published one and the default for images of 64 pixels or more, `small` for
            smaller ones.

    Raises:
        PwactError: another depth, or an image of fewer than 16 pixels (32 with the large head).

    Example:
        >>> from pwact.models import vgg
        >>> vgg((28, 28, 1), 10, depth=11).head
        'small'

    Reference: K. Simonyan, A. Zisserman, Very deep convolutional networks for large-scale image recognition,
    ICLR 2015, table 1.
    """
    counts = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
    check_choice("depth", depth, tuple(counts))
    image_shape = check_ends(image_shape, num_classes)
    widths = (64, 128, 256, 512, 512)
    return VGG(
        image_shape,
        num_classes,
        stages=tuple((width,) * count for width, count in zip(widths, counts[depth], strict=True)),
        norm=norm,
        head=head or ("large" if min(image_shape[:2]) >= 64 else "small"),
    )


class Stack(nnx.Module):
    """The network of a `VGG`. Sites: `blocks.0`, ..., `hidden.0`, `hidden.1`, `head` and what is inside."""

    def __init__(self, config: VGG, parts: Parts):
        inside, blocks = config.image_shape[2], []
        for stage, widths in enumerate(config.stages):
            last = stage == len(config.stages) - 1 and config.head == "small"
            for place, width in enumerate(widths):
                pooled = place == len(widths) - 1 and not last
                blocks.append(Block(inside, width, pooled, parts))
                inside = width
        self.blocks = nnx.List(blocks)
        self.large = config.head == "large"
        if self.large:
            self.hidden = nnx.List(
                [Hidden(inside * GRID**2, config.hidden, parts), Hidden(config.hidden, config.hidden, parts)]
            )
        self.head = parts.linear(config.hidden if self.large else inside, config.num_classes)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        for block in self.blocks:
            x = block(x)
        if not self.large:
            return self.head(x.mean((1, 2)))
        x = cells(cells(x, 1), 2)
        x = x.reshape(x.shape[0], -1)
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)


class Block(nnx.Module):
    """Convolution, norm, ReLU, and the pool at a stage's end."""

    def __init__(self, inside: int, width: int, pooled: bool, parts: Parts):
        self.conv = parts.conv(inside, width, 3, bias=True)
        self.norm = parts.after(width)
        self.pool = Pool("max", 2) if pooled else None

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        x = jax.nn.relu(self.norm(self.conv(x)))
        return x if self.pool is None else self.pool(x)


class Hidden(nnx.Module):
    """A linear layer and ReLU."""

    def __init__(self, inside: int, outside: int, parts: Parts):
        self.linear = parts.linear(inside, outside)

    def __call__(self, x: Float[Array, "batch inside"]) -> Float[Array, "batch outside"]:
        return jax.nn.relu(self.linear(x))


def cells(
    x: Float[Array, "batch row column channel"], axis: int
) -> Float[Array, "batch row2 column2 channel"]:
    """Means over 7 cells along an axis, cell i from floor(i n / 7) to ceil((i + 1) n / 7)."""
    length = x.shape[axis]
    if length == GRID:
        return x
    edges = [(i * length // GRID, -(-(i + 1) * length // GRID)) for i in range(GRID)]
    means = [jax.lax.slice_in_dim(x, *edge, axis=axis).mean(axis, keepdims=True) for edge in edges]
    return jnp.concatenate(means, axis)
