"""A network in numbers: maps, receptive fields, parameters, multiplications."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
from flax import nnx

from pwact.core.probe import probe
from pwact.models.architecture import Architecture
from pwact.models.counts import Path, multiplications_by_module, parameters_by_module

REST = "(outside)"
"""What the network computes in its own call."""


def summary(architecture: Architecture) -> str:
    """A table of the network, one line a block: its output for one image, what a point of that sees, counts.

    Example:
        >>> from pwact.models import ModelConfig, summary
        >>> print(summary(ModelConfig((8, 8, 1), 2, widths=(4,), strides=(1,), first_kernel_size=3)))
        block     output  receptive field  parameters  multiplications
        blocks.0  8x8x4   3x3, stride 1x1          44            2,304
        head      2           whole image          10                8
        total                                      54            2,312
    """
    weights, products = (
        _by_block(counts(architecture)) for counts in (parameters_by_module, multiplications_by_module)
    )
    model = nnx.eval_shape(lambda: architecture.build(nnx.Rngs(params=0)))
    sites = probe(model, jax.ShapeDtypeStruct((1, *architecture.image_shape), jnp.float32)).sites
    last: dict[str, str] = {}
    for name in sites:
        last[_block(tuple(name.split(".")))] = name
    lines = [("block", "output", "receptive field", "parameters", "multiplications")]
    for block in [*(block for block in last if block in weights or block in products), REST]:
        if block != REST or products[REST]:
            site = sites[block if block in sites else last.get(block, "output")]
            lines.append(
                (
                    block,
                    "x".join(map(str, site.shape)),
                    str(site.receptive_field or "-"),
                    f"{weights[block]:,}",
                    f"{products[block]:,}",
                )
            )
    lines.append(("total", "", "", f"{weights.total():,}", f"{products.total():,}"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        f"{line[0]:{widths[0]}}  {line[1]:{widths[1]}}"
        + "".join(f"  {text:>{width}}" for text, width in zip(line[2:], widths[2:], strict=True))
        for line in lines
    )


def _by_block(counts: Counter[Path]) -> Counter[str]:
    blocks: Counter[str] = Counter()
    for path, number in counts.items():
        blocks[_block(path)] += number
    return blocks


def _block(path: Path) -> str:
    """The first name of a path, with the number of a list's entry: `stem`, `blocks.3`."""
    if not path or path == ("",):
        return REST
    return ".".join(path[: 1 + (len(path) > 1 and path[1].isdigit())])
