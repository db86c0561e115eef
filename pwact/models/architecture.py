"""What a network is before it is built: a frozen dataclass that knows its images, its classes and `build`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx

from pwact.core.caching import described, memoized
from pwact.core.doors import opened
from pwact.core.registry import nearest, resolve
from pwact.errors import PwactError
from pwact.models.checks import check_ends
from pwact.nn import norms
from pwact.nn.conv import Form

ENDS = ("image_shape", "num_classes")
"""What every architecture and every factory of one takes first."""

PLAIN = (int, float, str, bool, tuple)
"""What a file holds as it is."""


@runtime_checkable
class Architecture(Protocol):
    """A description of a network: equal descriptions and seeds make equal networks.

    A frozen dataclass whose fields are numbers, texts and tuples of these; then `to_dict` writes it and
    `from_dict` reads it.

    Attributes:
        image_shape: (row, column, channel) of what goes in.
        num_classes: logits that come out.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def num_classes(self) -> int: ...

    def __hash__(self) -> int: ...

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """A network with freshly drawn variables: images [batch, row, column, channel] to [batch, class].

        Args:
            rngs: where the variables come from.
            form: the program of its convolutions (`pwact.nn.Conv`); the variables fit either.
        """


@dataclasses.dataclass(frozen=True)
class Own:
    """A network that somebody else wrote, made by `own`."""

    image_shape: tuple[int, int, int]
    num_classes: int
    name: str
    network: Callable[..., nnx.Module]

    def build(self, rngs: nnx.Rngs, *, form: Form = "lax") -> nnx.Module:
        """The network; its convolutions are its own, whatever the `form`."""
        # A stream of every name, as a network may draw more than parameters. Its streams keep their keys as
        # plain numbers, which a checkpoint can hold and which jax.random takes as well.
        network = self.network(rngs=nnx.Rngs(rngs.params()))
        for _, node in nnx.iter_graph(network):
            if isinstance(node, nnx.RngKey):
                node.set_value(jax.random.key_data(node.get_value()))
        return network


@memoized
def own(
    build: Callable[..., nnx.Module], image_shape: tuple[int, int, int], num_classes: int, *, name: str
) -> Own:
    """Your own Flax NNX network as an architecture, to be trained like the zoo's.

    A checkpoint cannot hold Python code: it stores the name, and loading it takes the same architecture as
    `config=`.

    Args:
        build: the module's class, or a function, called as `build(rngs=rngs)`. The module takes images
            [batch, row, column, channel] and returns logits [batch, class]; what is not an `nnx.Param` is
            kept as it is, or as the module updates it.
        image_shape: (row, column, channel) of the images.
        num_classes: logits.
        name: what tables call it.

    Raises:
        PwactError: `build` does not take `rngs`, makes no NNX module, or that does not map such images to
            such logits.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from pwact.models import build, own
        >>> class Linear(nnx.Module):
        ...     def __init__(self, rngs):
        ...         self.head = nnx.Linear(3, 2, rngs=rngs)
        ...     def __call__(self, x):
        ...         return self.head(x.mean((1, 2)))
        >>> build(own(Linear, (8, 8, 3), 2, name="linear"), 0)(jnp.zeros((4, 8, 8, 3))).shape
        (4, 2)
    """
    image_shape = check_ends(image_shape, num_classes)
    is_class = inspect.isclass(build)
    signature = inspect.signature(build.__init__ if is_class else build)
    try:
        signature.bind(*([None] if is_class else []), rngs=None)
    except TypeError as error:
        raise PwactError(
            "a function, or an NNX module's class, that takes `rngs` alone",
            f"{described(build)}{signature}: {error}",
            "wrap it: own(lambda rngs: MyNetwork(..., rngs=rngs), ...)",
        ) from error

    def made() -> nnx.Module:
        module = build(rngs=nnx.Rngs(0))
        if not isinstance(module, nnx.Module):
            raise PwactError(
                "a function that makes an nnx.Module", type(module).__name__, "return the module"
            )
        return module

    model = nnx.eval_shape(made)
    model.eval()
    image = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    graph, state = nnx.split(model)
    try:
        logits: Any = jax.eval_shape(lambda state, image: nnx.merge(graph, state)(image), state, image)
    except (TypeError, ValueError) as error:
        raise PwactError(
            f"a network that runs on images {image_shape}",
            f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}",
            "correct image_shape or the network",
        ) from error
    if getattr(logits, "shape", None) != (2, num_classes):
        found = getattr(logits, "shape", None) or type(logits).__name__
        raise PwactError(
            f"logits (2, {num_classes}) of two images", f"{found}", "correct num_classes or the network"
        )
    return Own(image_shape, num_classes, name, build)


def to_dict(architecture: Architecture) -> dict[str, Any]:
    """An architecture as JSON takes it: `kind`, its class's name, and its fields.

    Example:
        >>> from pwact.models import from_dict, quick, to_dict
        >>> record = to_dict(quick((8, 8, 1), 2))
        >>> record["kind"], record["num_classes"], from_dict(record) == quick((8, 8, 1), 2)
        ('ModelConfig', 2, True)
    """
    if hasattr(architecture, "to_json"):
        fields = json.loads(architecture.to_json())
    else:
        fields = {
            field.name: value if type(value) in PLAIN else _described(value)
            for field in dataclasses.fields(architecture)  # type: ignore[arg-type]
            for value in [getattr(architecture, field.name)]
        }
    return json.loads(json.dumps({"kind": type(architecture).__name__, **fields}))


def from_dict(record: Mapping[str, Any]) -> Architecture:
    """The architecture that `to_dict` or a person wrote; lists stand for tuples.

    Raises:
        PwactError: no kind or an unknown one, unknown or missing fields, values that make no network, or a
            network of the user's own, which no file holds.
    """
    kinds = _kinds()
    kind, fields = record.get("kind"), {name: value for name, value in record.items() if name != "kind"}
    if kind == Own.__name__:
        raise PwactError(
            f"the network {fields.get('name')!r} itself, which is Python code",
            f"its name in a file ({fields.get('network')})",
            "pass it unchanged: config=pwact.models.own(...)",
        )
    if kind not in kinds:
        raise PwactError(f"kind as one of: {', '.join(sorted(kinds))}", repr(kind), nearest(str(kind), kinds))
    if hasattr(kinds[kind], "from_json"):
        return kinds[kind].from_json(json.dumps(fields))
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(kinds[kind])}
    needed = {name for name, must in known.items() if must}
    if not needed <= set(fields) <= set(known):
        raise PwactError(
            f"{', '.join(sorted(needed))} and any of: {', '.join(sorted(set(known) - needed))}",
            ", ".join(sorted(fields)),
            "correct the fields",
        )
    try:
        opened(fields.get("norm", "none"), norms)
    except PwactError as error:
        raise PwactError(
            f"norm as text that makes it: {error.expected}",
            error.found,
            f"{error.do}; or pass config= with the norm of your own, which no file holds",
        ) from None
    return kinds[kind](**{name: _tuples(value) for name, value in fields.items()})


def from_text(text: str, image_shape: tuple[int, int, int], num_classes: int) -> Architecture:
    """The zoo's architecture that a text names, for such images and classes.

    Args:
        text: a factory or class of `pwact.models` with the arguments after the first two, such as
            "resnet(depth=18)" or "quick".
        image_shape: (row, column, channel).
        num_classes: logits.

    Raises:
        PwactError: an unknown name, arguments that it does not take, or an image too small for it.

    Example:
        >>> from pwact.models import from_text
        >>> from_text("cifar_resnet(depth=20)", (32, 32, 3), 10).blocks
        (3, 3, 3)
    """
    ready = {
        name: functools.partial(entry, image_shape, num_classes)
        for name, entry in _names().items()
        if tuple(inspect.signature(entry).parameters)[:2] == ENDS
    }
    return resolve(text, ready)


def _kinds() -> dict[str, Any]:
    """The architectures that `pwact.models` names, by their class's name."""
    return {
        name: entry
        for name, entry in _names().items()
        if dataclasses.is_dataclass(entry) and hasattr(entry, "build")
    }


def _names() -> dict[str, Any]:
    """What `pwact.models` names. It is the registry, and imports this file."""
    import pwact.models as home

    return {name: getattr(home, name) for name in home.__all__}


def _described(value: Any) -> str:
    """Something of the user's own in words that are the same in the next process."""
    if isinstance(value, functools.partial):
        return f"partial({_described(value.func)}, *{value.args}, **{value.keywords})"
    return described(value)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
