"""Wide residual networks: few layers, many channels, the norm before the convolution."""

from __future__ import annotations

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from pwact.errors import PwactError
from pwact.models.checks import check_ends, check_positive, check_size
from pwact.models.parts import Parts, entered_norm
from pwact.nn.conv import Form
from pwact.nn.norms import Norm


@dataclasses.dataclass(frozen=True)
class WideResNet:
    """A residual network whose blocks are norm, ReLU, 3x3 convolution, twice.

    A convolution of 16 channels, three stages of 16, 32 and 64 times `widen` channels of which the second and
    third halve rows and columns, a norm, ReLU, the mean over the last map, a linear head. The published
    WRN-28-10 is depth 28, widen 10.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        depth: 6n + 4 layers: 16, 22, 28, 40.
        widen: the factor of the channels.
        norm: of `pwact.nn.norms`; the paper's is `batch`.

    Raises:
        PwactError: a depth that is not 6n + 4, or an image of fewer than 4 pixels.

    Example:
        >>> from pwact.models import WideResNet, parameters
        >>> parameters(WideResNet((32, 32, 3), 10, depth=16, widen=4))
        2748890

    Reference: S. Zagoruyko, N. Komodakis, Wide residual networks, BMVC 2016 (without its dropout, which is
    an edit in training).
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    depth: int = 16
    widen: int = 4
    norm: str | Norm = "batch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        check_positive("depth", self.depth)
        check_positive("widen", self.widen)
        if self.depth < 10 or (self.depth - 4) % 6:
            raise PwactError(
                "a depth of 6n + 4: 10, 16, 22, 28, 40, ...", f"depth={self.depth}", "pick one of these"
            )
        object.__setattr__(self, "norm", entered_norm(self.norm))
        check_size("a WideResNet", self.image_shape, 4, "use larger images")

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        return Wide(self, Parts(self.norm, form, rngs))


class Wide(nnx.Module):
    """The network of a `WideResNet`. Sites: `stem`, `blocks.0`, ..., `norm`, `relu`, `head` and inside."""

    def __init__(self, config: WideResNet, parts: Parts):
        self.stem = parts.conv(config.image_shape[2], 16, 3)
        inside, blocks = 16, []
        for stage in range(3):
            width = 16 * config.widen * 2**stage
            for place in range((config.depth - 4) // 6):
                blocks.append(Before(inside, width, 2 if stage and not place else 1, parts))
                inside = width
        self.blocks = nnx.List(blocks)
        self.norm = parts.after(inside)
        self.head = parts.linear(inside, config.num_classes)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(jax.nn.relu(self.norm(x)).mean((1, 2)))


class Before(nnx.Module):
    """A residual block with a norm and ReLU before each convolution; a new shape is taken after them."""

    def __init__(self, inside: int, width: int, stride: int, parts: Parts):
        self.norm1 = parts.after(inside)
        self.conv1 = parts.conv(inside, width, 3, stride)
        self.norm2 = parts.after(width)
        self.conv2 = parts.conv(width, width, 3)
        changed = inside != width or stride > 1
        self.shortcut = parts.conv(inside, width, 1, stride) if changed else None

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        y = jax.nn.relu(self.norm1(x))
        if self.shortcut is not None:
            x = self.shortcut(y)
        y = self.conv1(y)
        return x + self.conv2(jax.nn.relu(self.norm2(y)))
