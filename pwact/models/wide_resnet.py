"""Wide residual networks: few layers, many channels, the norm before the convolution."""

from __future__ import annotations

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from pwact.errors import PwactError
from pwact.models.checks import check_ends, check_positive, check_size
from pwact.models.resnet import conv, norm
from pwact.nn.conv import Form


@dataclasses.dataclass(frozen=True)
class WideResNet:
    """A residual network whose blocks are BatchNorm, ReLU, 3x3 convolution, twice.

    A convolution of 16 channels, three stages of 16, 32 and 64 times `widen` channels of which the second and
    third halve rows and columns, BatchNorm, ReLU, the mean over the last map, a linear head. The published
    WRN-28-10 is depth 28, widen 10.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        depth: 6n + 4 layers: 16, 22, 28, 40.
        widen: the factor of the channels.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", check_ends(self.image_shape, self.num_classes))
        check_positive("depth", self.depth)
        check_positive("widen", self.widen)
        if self.depth < 10 or (self.depth - 4) % 6:
            raise PwactError(
                "a depth of 6n + 4: 10, 16, 22, 28, 40, ...", f"depth={self.depth}", "pick one of these"
            )
        check_size("a WideResNet", self.image_shape, 4, "use larger images")

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        return Wide(self, form, rngs)


class Wide(nnx.Module):
    """The network of a `WideResNet`. Sites: `stem`, `blocks.0`, ..., `norm`, `relu`, `head` and inside."""

    def __init__(self, config: WideResNet, form: Form, rngs: nnx.Rngs):
        self.stem = conv(config.image_shape[2], 16, 3, 1, form, rngs)
        inside, blocks = 16, []
        for stage in range(3):
            width = 16 * config.widen * 2**stage
            for place in range((config.depth - 4) // 6):
                blocks.append(Before(inside, width, 2 if stage and not place else 1, form, rngs))
                inside = width
        self.blocks = nnx.List(blocks)
        self.norm = norm(inside, rngs)
        self.head = nnx.Linear(inside, config.num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "batch row column channel"]) -> Float[Array, "batch class"]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(jax.nn.relu(self.norm(x)).mean((1, 2)))


class Before(nnx.Module):
    """A residual block with BatchNorm and ReLU before each convolution; a new shape is taken after them."""

    def __init__(self, inside: int, width: int, stride: int, form: Form, rngs: nnx.Rngs):
        self.norm1 = norm(inside, rngs)
        self.conv1 = conv(inside, width, 3, stride, form, rngs)
        self.norm2 = norm(width, rngs)
        self.conv2 = conv(width, width, 3, 1, form, rngs)
        changed = inside != width or stride > 1
        self.shortcut = conv(inside, width, 1, stride, form, rngs) if changed else None

    def __call__(
        self, x: Float[Array, "batch row column channel"]
    ) -> Float[Array, "batch row2 column2 width"]:
        y = jax.nn.relu(self.norm1(x))
        if self.shortcut is not None:
            x = self.shortcut(y)
        y = self.conv1(y)
        return x + self.conv2(jax.nn.relu(self.norm2(y)))
