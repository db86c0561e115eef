"""What a network is, in words that a person can read and write."""

from __future__ import annotations

import dataclasses
import json
import math
from types import ModuleType
from typing import Any, Literal, get_args

from flax import nnx

from pwact.core.doors import entered, opened, written
from pwact.errors import PwactError
from pwact.models.checks import check_choice, positive
from pwact.nn import activations, layers, norms
from pwact.nn.activations import Activation
from pwact.nn.conv import Form
from pwact.nn.layers import Layer
from pwact.nn.norms import Norm

Pooling = Literal["stride", "max", "average"]
Head = Literal["gap", "flatten"]

DOORS: dict[str, tuple[ModuleType, type]] = {
    "norm": (norms, Norm),
    "layer": (layers, Layer),
    "activation": (activations, Activation),
}
"""Fields that hold a method, each with its room and type."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A plain CNN: blocks of convolution, norm, activation and pooling, then a linear head.

    A method is text, such as "bnsr(min_count=50)", or an object of one's own. Text is kept with all arguments
    written out, so that equal methods are equal; what takes none is kept as its name.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        widths: channels of each block.
        strides: by how much each block shrinks rows and columns.
        kernel_size: of every convolution but the first.
        first_kernel_size: of the first convolution.
        norm: of `pwact.nn.norms`, after each convolution or of its kernel.
        pooling: how a block shrinks: `stride` in its convolution, or `max` or `average` after the activation.
        head: `gap` averages each channel over the last map, `flatten` keeps every point.
        layer: of `pwact.nn.layers`, what each block begins with.
        activation: of `pwact.nn.activations`, after each norm.

    Raises:
        PwactError: a field that makes no network, or a method that is not there; the message says which.

    Example:
        >>> from pwact.models import ModelConfig
        >>> config = ModelConfig((28, 28, 1), 10, widths=(8, 16), strides=(2, 2))
        >>> config.map_shapes
        ((14, 14, 8), (7, 7, 16))
        >>> ModelConfig.from_json(config.to_json()) == config
        True
        >>> ModelConfig((8, 8, 1), 2, norm="weight_align").norm
        "weight_align(gain='he', epsilon=1e-05)"
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    widths: tuple[int, ...] = (16, 32, 32, 32)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    kernel_size: int = 3
    first_kernel_size: int = 5
    norm: str | Norm = "batch"
    pooling: Pooling = "stride"
    head: Head = "gap"
    layer: str | Layer = "conv"
    activation: str | Activation = "relu"

    def __post_init__(self) -> None:
        for name in ("image_shape", "widths", "strides"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or not value or not all(positive(item) for item in value):
                raise PwactError(f"{name} as positive whole numbers", f"{name}={value!r}", "correct it")
            object.__setattr__(self, name, tuple(int(item) for item in value))
        for name in ("num_classes", "kernel_size", "first_kernel_size"):
            if not positive(getattr(self, name)):
                raise PwactError(f"{name} of 1 or more", f"{name}={getattr(self, name)!r}", "correct it")
        for name in DOORS:
            object.__setattr__(self, name, _entered(name, getattr(self, name)))
        check_choice("pooling", self.pooling, get_args(Pooling))
        check_choice("head", self.head, get_args(Head))
        if len(self.image_shape) != 3:
            raise PwactError(
                "image_shape as (row, column, channel)", repr(self.image_shape), "give three numbers"
            )
        if len(self.widths) != len(self.strides):
            raise PwactError(
                "one stride a block",
                f"{len(self.widths)} widths and {len(self.strides)} strides",
                "make widths and strides equally long",
            )
        if min(min(shape[:2]) for shape in self.map_shapes) < 1:
            raise PwactError(
                f"an image that leaves at least one point after strides {self.strides}",
                f"{self.image_shape[0]}x{self.image_shape[1]} pixels",
                "use smaller strides or larger images",
            )

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network, its variables drawn from `rngs`."""
        # The network's file imports this one.
        from pwact.models.cnn import CNN

        return CNN(self, form, rngs)

    def method(self, name: str) -> Any:
        """The norm, layer or activation that a field holds.

        Example:
            >>> ModelConfig((8, 8, 1), 2, norm="none").method("norm").bias
            True
        """
        return opened(getattr(self, name), DOORS[name][0])

    @property
    def map_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(row, column, channel) that each block puts out."""
        rows, columns, _ = self.image_shape
        shapes = []
        for width, stride in zip(self.widths, self.strides, strict=True):
            if self.pooling == "stride":
                rows, columns = math.ceil(rows / stride), math.ceil(columns / stride)
            else:
                rows, columns = rows // stride, columns // stride
            shapes.append((rows, columns, width))
        return tuple(shapes)

    @property
    def receptive_fields(self) -> tuple[int, ...]:
        """Pixels, in one direction, that a point of each block's output sees at most."""
        field, step, fields = 1, 1, []
        for place, stride in enumerate(self.strides):
            size = self.kernel_size if place else self.first_kernel_size
            field += (size - 1) * step
            if self.pooling != "stride":
                field += (stride - 1) * step
            step *= stride
            fields.append(field)
        return tuple(fields)

    def to_json(self) -> str:
        """The fields as JSON text; a method of one's own is described, which nothing can be made from."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        words = {name: written(fields[name]) for name in DOORS}
        return json.dumps(fields | words, indent=2)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """The configuration that `to_json` or a person wrote.

        Raises:
            PwactError: not JSON, an unknown field, a missing one, a value that makes no network, or a method
                of one's own, which no file holds.
        """
        try:
            fields: Any = json.loads(text)
        except ValueError as error:
            raise PwactError(
                "a model configuration in JSON", str(error), "see ModelConfig.to_json"
            ) from error
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or not {"image_shape", "num_classes"} <= set(fields) <= known:
            raise PwactError(
                f"image_shape, num_classes and any of: {', '.join(sorted(known))}",
                ", ".join(sorted(fields)) if isinstance(fields, dict) else type(fields).__name__,
                "correct the fields",
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        for name in DOORS.keys() & values.keys():
            try:
                _entered(name, values[name])
            except PwactError as error:
                do = (
                    f"{error.do}; a method of your own is in no file: pass config=ModelConfig(..., {name}=it)"
                )
                raise PwactError(error.expected, error.found, do) from None
        return cls(**values)


def _entered(name: str, value: Any) -> Any:
    """What a field keeps of a method: text, just the name where it has no arguments, or an own object."""
    try:
        kept = entered(name, value, *DOORS[name])
    except PwactError as error:
        expected = error.expected if error.expected.startswith(name) else f"{name} as {error.expected}"
        raise PwactError(expected, error.found, error.do) from None
    return kept.removesuffix("()") if isinstance(kept, str) else kept
