"""Weights that PyTorch trained, in the zoo's networks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from pwact.errors import PwactError
from pwact.models.architecture import Architecture
from pwact.models.resnet import ResNet
from pwact.models.vgg import GRID, VGG

WORDS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""What a variable is called in PyTorch, by its name here."""

COUNTER = "num_batches_tracked"
"""Of PyTorch's BatchNorm, which uses it in training only."""

LISTED = 12
"""Tensors of each kind that an error names."""


class Tensor(NamedTuple):
    """A tensor that a network needs.

    Args:
        name: in PyTorch.
        shape: in PyTorch.
        path: of the variable here.
        variable: abstract.
        from_map: whether the columns of a linear layer run over channel, row, column of a map.
    """

    name: str
    shape: tuple[int, ...]
    path: tuple[Any, ...]
    variable: Any
    from_map: bool


def load_torchvision(architecture: Architecture, source: str | os.PathLike[str] | Mapping[str, Any]) -> Any:
    """A ResNet's or VGG's variables from weights in torchvision's names and layout.

    Convolutions go from [out, in, row, column] to [row, column, in, out], linear layers from [out, in] to
    [in, out]; the first one after VGG's maps reads row, column, channel in place of channel, row, column.
    BatchNorm's averages come with its scale and bias; half precision becomes single. The images must be
    prepared as they were in training; for torchvision's own ImageNet weights that is
    `Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))`.

    Args:
        architecture: a `ResNet` or `VGG`, also of sizes that torchvision does not have. A small stem has the
            names of the large one; the small head of a `VGG` is `classifier`.
        source: a `.safetensors` file, or a mapping from names to arrays, such as a `state_dict()`.

    Returns:
        The variables of `build(architecture, ...)`, for `probe.run`, `sweep` and `nnx.merge`.

    Raises:
        PwactError: another architecture; a file that cannot be read; tensors that are missing, unexpected, of
            another shape, or that hold something else than finite numbers: they are listed, and none is used.

    Example:
        >>> import jax.numpy as jnp, numpy as np, pwact
        >>> from pwact.models import VGG, build, load_torchvision
        >>> config = VGG((8, 8, 3), 2, stages=((4,),), head="small")
        >>> weights = {"features.0.weight": np.ones((4, 3, 3, 3)), "features.0.bias": np.zeros(4),
        ...            "classifier.weight": np.ones((2, 4)), "classifier.bias": np.array([0.0, 1.0])}
        >>> variables = load_torchvision(config, weights)
        >>> probe = pwact.probe(build(config, 0), jnp.zeros((1, 8, 8, 3)))
        >>> probe.run(variables, jnp.zeros((1, 8, 8, 3)))[0]
        Array([[0., 1.]], dtype=float32)

    Source: the names and layouts are those of torchvision.models.resnet and torchvision.models.vgg.
    """
    needed = list(_needed(architecture))
    given = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    _check(needed, given, type(architecture).__name__)
    return nnx.from_flat_state(
        [
            (tensor.path, tensor.variable.replace(jnp.asarray(_converted(tensor, given[tensor.name]))))
            for tensor in needed
        ]
    )


def _needed(architecture: Architecture) -> Iterator[Tensor]:
    if isinstance(architecture, ResNet):
        modules = _resnet(architecture)
    elif isinstance(architecture, VGG):
        modules = _vgg(architecture)
    else:
        raise PwactError("a ResNet or a VGG", type(architecture).__name__, "pick one of these")
    if architecture.norm not in ("none", "batch"):
        raise PwactError(
            "norm='batch' or 'none' with torchvision's weights", f"norm={architecture.norm!r}", "correct it"
        )
    model = nnx.eval_shape(lambda: architecture.build(nnx.Rngs(params=0)))
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        module, shape, from_map = path[:-1], variable.shape, path[:2] == ("hidden", 0)
        if path[-1] == "kernel":
            shape = shape[::-1] if len(shape) == 2 else (shape[3], shape[2], *shape[:2])
        yield Tensor(f"{modules[module]}.{WORDS[str(path[-1])]}", shape, path, variable, from_map)


def _resnet(config: ResNet) -> dict[tuple[Any, ...], str]:
    """PyTorch's name for each module, by its path here."""
    modules: dict[tuple[Any, ...], str] = {
        ("stem", "conv"): "conv1",
        ("stem", "norm"): "bn1",
        ("head",): "fc",
    }
    places = [(stage, place) for stage, count in enumerate(config.blocks, 1) for place in range(count)]
    for block, (stage, place) in enumerate(places):
        theirs = f"layer{stage}.{place}"
        for number in (1, 2, 3):
            modules["blocks", block, f"conv{number}"] = f"{theirs}.conv{number}"
            modules["blocks", block, f"norm{number}"] = f"{theirs}.bn{number}"
        modules["blocks", block, "shortcut", "conv"] = f"{theirs}.downsample.0"
        modules["blocks", block, "shortcut", "norm"] = f"{theirs}.downsample.1"
    return modules


def _vgg(config: VGG) -> dict[tuple[Any, ...], str]:
    """PyTorch's name for each module, by its path here: it numbers ReLUs, pools and dropouts too."""
    modules: dict[tuple[Any, ...], str] = {
        ("hidden", 0, "linear"): "classifier.0",
        ("hidden", 1, "linear"): "classifier.3",
        ("head",): "classifier.6" if config.head == "large" else "classifier",
    }
    number = block = 0
    for widths in config.stages:
        for _ in widths:
            modules["blocks", block, "conv"] = f"features.{number}"
            modules["blocks", block, "norm"] = f"features.{number + 1}"
            number += 3 if config.norm == "batch" else 2
            block += 1
        number += 1
    return modules


def _read(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except KeyError as error:
        raise PwactError(
            "tensors of float32, float16 or float64", f"{error} in {str(path)!r}", "save them as float32"
        ) from error
    except (OSError, SafetensorError) as error:
        raise PwactError(
            "a readable .safetensors file",
            f"{str(path)!r}: {error}",
            "check the path; for a .pth file: safetensors.torch.save_file(model.state_dict(), path)",
        ) from error


def _check(needed: list[Tensor], given: Mapping[str, Any], kind: str) -> None:
    """Refuse what does not fit, all of it at once."""
    shapes = {tensor.name: tensor.shape for tensor in needed}
    present = {name: np.asarray(given[name]) for name in shapes if name in given}
    wrong = {name for name, value in present.items() if value.shape != shapes[name]}
    faults = {
        "missing": sorted(shapes.keys() - given.keys()),
        "unexpected": sorted(
            str(name) for name in given.keys() - shapes.keys() if str(name).rpartition(".")[2] != COUNTER
        ),
        "of another shape": [f"{name} {present[name].shape}, not {shapes[name]}" for name in sorted(wrong)],
        "not finite numbers": sorted(
            name for name, value in present.items() if name not in wrong and not _finite(value)
        ),
    }
    found = "; ".join(f"{fault}: {_listed(names)}" for fault, names in faults.items() if names)
    if found:
        raise PwactError(
            f"the {len(needed)} tensors of this {kind} under torchvision's names",
            found,
            "describe the network that the weights are of: its size, norm, head, classes and image channels",
        )


def _finite(value: np.ndarray) -> bool:
    return np.issubdtype(value.dtype, np.floating) and bool(np.isfinite(value.astype(np.float32)).all())


def _listed(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _converted(tensor: Tensor, value: Any) -> np.ndarray:
    array = np.asarray(value).astype(np.float32)
    if tensor.path[-1] != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if tensor.from_map:
        units = len(array)
        array = array.reshape(units, -1, GRID, GRID).transpose(0, 2, 3, 1).reshape(units, -1)
    return array.T
