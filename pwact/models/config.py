"""What a network is, in words that a person can read and write."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Literal, get_args

from pwact.errors import PwactError

Norm = Literal["none", "batch", "group", "layer"]
Pooling = Literal["stride", "max", "average"]
Head = Literal["gap", "flatten"]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A plain CNN: blocks of convolution, norm, ReLU and pooling, then a linear head.

    Args:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
        widths: channels of each block.
        strides: by how much each block shrinks rows and columns.
        kernel_size: of every convolution but the first.
        first_kernel_size: of the first convolution.
        norm: after each convolution; `group` makes gcd(8, width) groups, `layer` normalises each point
            vector.
        pooling: how a block shrinks: `stride` in its convolution, or `max` or `average` after the ReLU.
        head: `gap` averages each channel over the last map, `flatten` keeps every point.

    Raises:
        PwactError: a field that makes no network; the message says which.

    Example:
        >>> from pwact.models import ModelConfig
        >>> config = ModelConfig((28, 28, 1), 10, widths=(8, 16), strides=(2, 2))
        >>> config.map_shapes
        ((14, 14, 8), (7, 7, 16))
        >>> ModelConfig.from_json(config.to_json()) == config
        True
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    widths: tuple[int, ...] = (16, 32, 32, 32)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    kernel_size: int = 3
    first_kernel_size: int = 5
    norm: Norm = "batch"
    pooling: Pooling = "stride"
    head: Head = "gap"

    def __post_init__(self) -> None:
        for name in ("image_shape", "widths", "strides"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or not value or not all(_positive(item) for item in value):
                raise PwactError(f"{name} as positive whole numbers", f"{name}={value!r}", "correct it")
            object.__setattr__(self, name, tuple(int(item) for item in value))
        for name in ("num_classes", "kernel_size", "first_kernel_size"):
            if not _positive(getattr(self, name)):
                raise PwactError(f"{name} of 1 or more", f"{name}={getattr(self, name)!r}", "correct it")
        for name, kind in (("norm", Norm), ("pooling", Pooling), ("head", Head)):
            if getattr(self, name) not in get_args(kind):
                raise PwactError(
                    f"{name} as one of: {', '.join(get_args(kind))}",
                    repr(getattr(self, name)),
                    "pick one of these",
                )
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
        """The fields as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """The configuration that `to_json` or a person wrote.

        Raises:
            PwactError: not JSON, an unknown field, a missing one, or a value that makes no network.
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
        return cls(**values)


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
