"""A depthwise-separable network, after MobileNet."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from pwact.errors import PwactError
from pwact.models.checks import check_ends, check_positive, check_size
from pwact.models.parts import Parts, entered_norm
from pwact.nn.conv import Form
from pwact.nn.norms import Norm


@dataclasses.dataclass(frozen=True)
class MobileNet:
    """A 3x3 convolution, then blocks of a depthwise 3x3 and a 1x1 convolution, GAP and a linear head.

    Every convolution is followed by a norm and ReLU. `mobilenet` gives the published one.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        widths: channels of the first convolution and of each block.
        strides: of the first convolution and of each block's depthwise convolution.
        norm: of `pwact.nn.norms`, with every convolution.

    Raises:
        PwactError: a field that makes no network, or an image that the strides leave nothing of.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.models import MobileNet, build
        >>> small = MobileNet((8, 8, 1), 2, widths=(4, 8, 8), strides=(1, 2, 1))
        >>> build(small, 0)(jnp.zeros((3, 8, 8, 1))).shape
        (3, 2)

    Reference: A. Howard et al., MobileNets: efficient convolutional neural networks for mobile vision
    applications, arXiv:1704.04861, 2017.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    norm: str | Norm = "batch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        check_positive("widths", self.widths)
        check_positive("strides", self.strides)
        object.__setattr__(self, "norm", entered_norm(self.norm))
        if len(self.widths) != len(self.strides):
            raise PwactError(
                "one stride a width",
                f"{len(self.widths)} widths and {len(self.strides)} strides",
                "make widths and strides equally long",
            )
        check_size(
            "this MobileNet",
            self.image_shape,
            math.prod(self.strides),
            "use smaller strides or larger images",
        )

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        return Separable(self, Parts(self.norm, form, rngs))


def mobilenet(
    image_shape: tuple[int, int, int], num_classes: int, *, width: float = 1.0, norm: str | Norm = "batch"
) -> MobileNet:
    """MobileNet of version 1: thirteen depthwise-separable blocks.

    Images of fewer than 64 pixels are halved three times, where the channels grow to 256, 512 and 1024,
    others five times as published.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.
        width: the factor of all channels: 1, 0.75, 0.5 and 0.25 in the paper.
        norm: of `pwact.nn.norms`; the paper's is `batch`.

    Raises:
        PwactError: a width that leaves no channel, or an image of fewer than 8 pixels.

    Example:
        >>> from pwact.models import mobilenet
        >>> mobilenet((32, 32, 3), 10, width=0.25).widths
        (8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)

    Reference: A. Howard et al., MobileNets: efficient convolutional neural networks for mobile vision
    applications, arXiv:1704.04861, 2017, table 1.
    """
    image_shape = check_ends(image_shape, num_classes)
    widths = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    strides = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    if min(image_shape[:2]) < 64:
        strides[0] = strides[2] = 1
    if int(32 * width) < 1:
        raise PwactError("a width of 1/32 or more", f"width={width}", "use a larger one")
    return MobileNet(
        image_shape,
        num_classes,
        widths=tuple(int(each * width) for each in widths),
        strides=tuple(strides),
        norm=norm,
    )


class Separable(nnx.Module):
    """The network of a `MobileNet`. Sites: `stem`, `blocks.0`, ..., `head` and what is inside them."""

    def __init__(self, config: MobileNet, parts: Parts):
        self.stem = Stem(config.image_shape[2], config.widths[0], config.strides[0], parts)
        self.blocks = nnx.List(
            [
                Block(inside, outside, stride, parts)
                for inside, outside, stride in zip(
                    config.widths, config.widths[1:], config.strides[1:], strict=False
                )
            ]
        )
        self.head = parts.linear(config.widths[-1], config.num_classes)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Stem(nnx.Module):
    """A 3x3 convolution, norm, ReLU."""

    def __init__(self, inside: int, outside: int, stride: int, parts: Parts):
        self.conv = parts.conv(inside, outside, 3, stride)
        self.norm = parts.after(outside)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        return jax.nn.relu(self.norm(self.conv(x)))


class Block(nnx.Module):
    """A depthwise and a 1x1 convolution, each with a norm and ReLU."""

    def __init__(self, inside: int, outside: int, stride: int, parts: Parts):
        self.depthwise = Depthwise(inside, 3, stride, parts)
        self.norm1 = parts.after(inside)
        self.pointwise = parts.conv(inside, outside, 1)
        self.norm2 = parts.after(outside)

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        x = jax.nn.relu(self.norm1(self.depthwise(x)))
        return jax.nn.relu(self.norm2(self.pointwise(x)))


class Depthwise(nnx.Module):
    """Each channel convolved with a kernel of its own; zeros at all ends alike."""

    def __init__(self, channels: int, size: int, stride: int, parts: Parts):
        shape = (size, size, 1, channels)
        self.kernel = nnx.Param(jax.nn.initializers.he_normal()(parts.rngs.params(), shape, jnp.float32))
        self.kernel_norm = parts.kernel_norm(shape)
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32)) if parts.bias else None
        self.stride = stride
        self.form = parts.form

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 channel"]:
        kernel = self.kernel_norm(self.kernel[...])
        convolve = _lax if self.form == "lax" else _slices
        y = convolve(x.astype(kernel.dtype), kernel, self.stride)
        return y if self.bias is None else y + self.bias[...].reshape(1, 1, 1, -1)


def _lax(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(kernel.shape[0] // 2,) * 2] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=kernel.shape[-1],
    )


def _slices(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size, _, _, channels = kernel.shape
    margin = [(size // 2,) * 2] * 2
    reach = [stride * (-(-length // stride) - 1) + 1 for length in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), *margin, (0, 0)))
    return sum(  # type: ignore[return-value]
        lax.slice(x, (0, i, j, 0), (x.shape[0], i + reach[0], j + reach[1], channels), (1, stride, stride, 1))
        * kernel[i, j].reshape(1, 1, 1, channels)
        for i in range(size)
        for j in range(size)
    )
