"""Residual networks: those for small images and those for ImageNet."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from pwact.errors import PwactError
from pwact.models.checks import check_choice, check_ends, check_positive, check_size
from pwact.models.parts import Parts, entered_norm
from pwact.nn.conv import Form
from pwact.nn.norms import Norm

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels that leave a block, for each of its width."""


@dataclasses.dataclass(frozen=True)
class ResNet:
    """A residual network: a stem, stages of residual blocks, the mean over the last map, a linear head.

    From the second stage on the first block of a stage halves rows and columns. The factories `resnet` and
    `cifar_resnet` give the published ones.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        blocks: residual blocks of each stage.
        widths: channels of each stage; a bottleneck block puts out four times as many.
        block: `basic` has two 3x3 convolutions; `bottleneck` has 1x1, 3x3 and 1x1, the stride in the 3x3
            (v1.5).
        stem: `small` is a 3x3 convolution; `large` a 7x7 convolution of stride 2 and a 3x3 max-pool of stride
            2.
        shortcut: where a block changes the shape, its input joins through a 1x1 convolution with a norm
            (`project`, option B) or with every second point and zeros for the new channels (`pad`, option A).
        norm: of `pwact.nn.norms`, with every convolution.

    Raises:
        PwactError: a field that makes no network, or an image that the strides leave nothing of.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.models import ResNet, build
        >>> build(ResNet((8, 8, 1), 2, blocks=(1, 1), widths=(4, 8)), 0)(jnp.zeros((3, 8, 8, 1))).shape
        (3, 2)

    Reference: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    blocks: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    block: Literal["basic", "bottleneck"] = "basic"
    stem: Literal["small", "large"] = "small"
    shortcut: Literal["pad", "project"] = "project"
    norm: str | Norm = "batch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        check_positive("blocks", self.blocks)
        check_positive("widths", self.widths)
        check_choice("block", self.block, ("basic", "bottleneck"))
        check_choice("stem", self.stem, ("small", "large"))
        check_choice("shortcut", self.shortcut, ("pad", "project"))
        object.__setattr__(self, "norm", entered_norm(self.norm))
        if len(self.blocks) != len(self.widths):
            raise PwactError(
                "one width a stage",
                f"blocks={self.blocks} and widths={self.widths}",
                "make blocks and widths equally long",
            )
        least = (4 if self.stem == "large" else 1) * 2 ** (len(self.blocks) - 1)
        check_size("this ResNet", self.image_shape, least, "use fewer stages, stem='small' or larger images")

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        return Residual(self, Parts(self.norm, form, rngs))


def cifar_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 20,
    shortcut: Literal["pad", "project"] = "pad",
    norm: str | Norm = "batch",
) -> ResNet:
    """The ResNet for images of 32 pixels: three stages of 16, 32 and 64 channels, 6n + 2 layers.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.
        depth: 20, 32, 44, 56 or 110 in the paper.
        shortcut: the paper's for these networks is `pad` (option A), which has no parameters.
        norm: of `pwact.nn.norms`; the paper's is `batch`.

    Raises:
        PwactError: a depth that is not 6n + 2, or an image of fewer than 4 pixels.

    Example:
        >>> from pwact.models import cifar_resnet, parameters
        >>> parameters(cifar_resnet((32, 32, 3), 10, depth=20))
        269722

    Reference: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016,
    section 4.2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise PwactError("a depth of 6n + 2: 20, 32, 44, 56, 110, ...", f"depth={depth}", "pick one of these")
    return ResNet(image_shape, num_classes, blocks=((depth - 2) // 6,) * 3, shortcut=shortcut, norm=norm)


def resnet(
    image_shape: tuple[int, int, int], num_classes: int, *, depth: int = 18, norm: str | Norm = "batch"
) -> ResNet:
    """The ResNet for ImageNet: a large stem, four stages of 64 to 512 channels, projections.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.
        depth: 18 and 34 have basic blocks, 50, 101 and 152 bottlenecks with the stride in the 3x3 (v1.5).
        norm: of `pwact.nn.norms`; the paper's is `batch`.

    Raises:
        PwactError: another depth, or an image of fewer than 32 pixels.

    Example:
        >>> from pwact.models import resnet
        >>> resnet((224, 224, 3), 1000, depth=50).blocks
        (3, 4, 6, 3)

    Reference: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016,
    table 1.
    """
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
    check_choice("depth", depth, tuple(blocks))
    return ResNet(
        image_shape,
        num_classes,
        blocks=blocks[depth],
        widths=(64, 128, 256, 512),
        block="basic" if depth < 50 else "bottleneck",
        stem="large",
        norm=norm,
    )


class Residual(nnx.Module):
    """The network of a `ResNet`. Sites: `stem`, `blocks.0`, ..., `head` and what is inside them."""

    def __init__(self, config: ResNet, parts: Parts):
        large = config.stem == "large"
        self.stem = Stem(config.image_shape[2], config.widths[0], large, parts)
        make = Basic if config.block == "basic" else Bottleneck
        inside, blocks = config.widths[0], []
        for stage, (count, width) in enumerate(zip(config.blocks, config.widths, strict=True)):
            for place in range(count):
                stride = 2 if stage and not place else 1
                blocks.append(make(inside, width, stride, config.shortcut, parts))
                inside = width * EXPANSION[config.block]
        self.blocks = nnx.List(blocks)
        self.head = parts.linear(inside, config.num_classes)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Stem(nnx.Module):
    """The first convolution, norm, ReLU and, of a large stem, a 3x3 max-pool of stride 2."""

    def __init__(self, inside: int, width: int, large: bool, parts: Parts):
        self.conv = parts.conv(inside, width, 7 if large else 3, 2 if large else 1)
        self.norm = parts.after(width)
        self.large = large

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        x = jax.nn.relu(self.norm(self.conv(x)))
        return nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))) if self.large else x


class Basic(nnx.Module):
    """Two 3x3 convolutions beside the shortcut."""

    def __init__(self, inside: int, width: int, stride: int, shortcut: str, parts: Parts):
        self.conv1 = parts.conv(inside, width, 3, stride)
        self.norm1 = parts.after(width)
        self.conv2 = parts.conv(width, width, 3)
        self.norm2 = parts.after(width)
        self.shortcut = joining(inside, width, stride, shortcut, parts)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions beside the shortcut; the 3x3 one has the stride."""

    def __init__(self, inside: int, width: int, stride: int, shortcut: str, parts: Parts):
        outside = width * EXPANSION["bottleneck"]
        self.conv1 = parts.conv(inside, width, 1)
        self.norm1 = parts.after(width)
        self.conv2 = parts.conv(width, width, 3, stride)
        self.norm2 = parts.after(width)
        self.conv3 = parts.conv(width, outside, 1)
        self.norm3 = parts.after(outside)
        self.shortcut = joining(inside, outside, stride, shortcut, parts)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = jax.nn.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Projection(nnx.Module):
    """A shortcut through a 1x1 convolution and a norm."""

    def __init__(self, inside: int, outside: int, stride: int, parts: Parts):
        self.conv = parts.conv(inside, outside, 1, stride)
        self.norm = parts.after(outside)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        return self.norm(self.conv(x))


class Padding(nnx.Module):
    """A shortcut without parameters: every `stride`-th point, and zeros for the channels that are new."""

    def __init__(self, new: int, stride: int):
        self.new = new
        self.stride = stride

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        x = lax.slice(x, (0, 0, 0, 0), x.shape, (1, self.stride, self.stride, 1))
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.new)))


def joining(
    inside: int, outside: int, stride: int, shortcut: str, parts: Parts
) -> Projection | Padding | None:
    """How a block's input reaches its end; None where it is added as it is."""
    if inside == outside and stride == 1:
        return None
    if shortcut == "project" or outside < inside:
        return Projection(inside, outside, stride, parts)
    return Padding(outside - inside, stride)
