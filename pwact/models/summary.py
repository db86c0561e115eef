"""A configuration in numbers: maps, receptive fields, parameters, multiplications."""

from __future__ import annotations

from pwact.models.config import ModelConfig


def parameters(config: ModelConfig) -> int:
    """Trainable numbers in the network.

    Example:
        >>> from pwact.models import ModelConfig
        >>> parameters(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3))
        54
    """
    return sum(row[3] for row in _rows(config))


def multiplications(config: ModelConfig) -> int:
    """Multiplications of convolutions and head for one image.

    Example:
        >>> from pwact.models import ModelConfig
        >>> multiplications(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3))
        2312
    """
    return sum(row[4] for row in _rows(config))


def summary(config: ModelConfig) -> str:
    """A table of the network, one line a block.

    Example:
        >>> from pwact.models import ModelConfig, summary
        >>> print(summary(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3)))
        block      output  receptive field  parameters  multiplications
        blocks.0   8x8x4                 3          44            2,304
        head       2                     8          10                8
        total                                       54            2,312
    """
    lines = [("block", "output", "receptive field", "parameters", "multiplications")]
    lines += [
        (name, out, str(field), f"{count:,}", f"{products:,}")
        for name, out, field, count, products in _rows(config)
    ]
    lines.append(("total", "", "", f"{parameters(config):,}", f"{multiplications(config):,}"))
    name, out, *numbers = (max(len(line[i]) for line in lines) for i in range(5))
    return "\n".join(
        f"{line[0]:{name + 2}} {line[1]:{out}}"
        + "".join(f"  {text:>{width}}" for text, width in zip(line[2:], numbers, strict=True))
        for line in lines
    )


def _rows(config: ModelConfig) -> list[tuple[str, str, int, int, int]]:
    rows = []
    inside = config.image_shape[2]
    grid = config.image_shape[:2]
    for place, (row, column, width) in enumerate(config.map_shapes):
        size = config.kernel_size if place else config.first_kernel_size
        kernel = size * size * inside * width
        count = kernel + (width if config.norm == "none" else 2 * width)
        computed = (row, column) if config.pooling == "stride" else grid
        products = kernel * computed[0] * computed[1]
        rows.append(
            (f"blocks.{place}", f"{row}x{column}x{width}", config.receptive_fields[place], count, products)
        )
        inside, grid = width, (row, column)
    features = inside * (1 if config.head == "gap" else grid[0] * grid[1])
    classes = config.num_classes
    rows.append(
        ("head", f"{classes}", max(config.image_shape[:2]), (features + 1) * classes, features * classes)
    )
    return rows
