"""The convolutions and norms of one network."""

from __future__ import annotations

import dataclasses
from typing import Any

from flax import nnx

from pwact.core.doors import entered, opened
from pwact.nn import norms
from pwact.nn.conv import Conv, Form
from pwact.nn.norms import Norm


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes the parts of a network, all of a kind.

    Args:
        norm: of each convolution, as the architecture keeps it.
        form: the program of the convolutions.
        rngs: where variables come from.
    """

    norm: str | Norm
    form: Form
    rngs: nnx.Rngs

    @property
    def _norm(self) -> Norm:
        return opened(self.norm, norms)

    @property
    def bias(self) -> bool:
        """Whether a convolution has a bias beside the norm."""
        return self._norm.bias

    def kernel_norm(self, shape: tuple[int, ...]) -> Any:
        """What a kernel of this shape goes through before it is used."""
        return same if self._norm.kernel is None else self._norm.kernel(shape, self.rngs)

    def conv(self, inside: int, outside: int, size: int, stride: int = 1, bias: bool | None = None) -> Conv:
        """A convolution that adds zeros at all ends alike; with a bias where the norm says, or as asked."""
        return Conv(
            inside,
            outside,
            size,
            stride=stride,
            padding="symmetric",
            use_bias=self.bias if bias is None else bias,
            kernel_norm=self._norm.kernel,
            form=self.form,
            rngs=self.rngs,
        )

    def after(self, width: int) -> Any:
        """The norm's module after a convolution, or a function that does nothing."""
        return same if self._norm.layer is None else self._norm.layer(width, self.rngs)

    def linear(self, inside: int, outside: int) -> nnx.Linear:
        """A linear layer with a bias."""
        return nnx.Linear(inside, outside, rngs=self.rngs)


def entered_norm(value: Any) -> str | Norm:
    """What an architecture keeps of a norm: text, just the name where it has no arguments, or an own object.

    Example:
        >>> entered_norm("batch()"), entered_norm("weight_align")
        ('batch', "weight_align(gain='he', epsilon=1e-05)")
    """
    kept = entered("norm", value, norms, Norm)
    return kept.removesuffix("()") if isinstance(kept, str) else kept


def same(x: Any) -> Any:
    """What it is given."""
    return x
