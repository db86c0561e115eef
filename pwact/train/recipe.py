"""How a network is trained, in words that a person can read and write."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from pwact import callbacks, initializers, objectives, regularizers, updates
from pwact.callbacks.callback import Callback
from pwact.core.doors import entered, opened, written
from pwact.data import augment
from pwact.data.augment import Augmentation
from pwact.errors import PwactError
from pwact.initializers.initializer import Initializer
from pwact.objectives.objective import Objective
from pwact.regularizers.penalty import Penalty
from pwact.updates.update_rule import UpdateRule

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "linear", "constant"]
Sampling = Literal["shuffled", "balanced"]
Precision = Literal["float32", "bfloat16"]

NUMBERS = ("learning_rate", "momentum", "weight_decay", "clip_norm")
"""Enter the program as arguments: recipes that differ in these alone are trained by one program."""

DOORS: dict[str, tuple[ModuleType, type | tuple[type, ...]]] = {
    "objective": (objectives, Objective),
    "update": (updates, UpdateRule),
    "initializer": (initializers, Initializer),
    "augment": (augment, Augmentation),
    "regularizers": (regularizers, (Penalty, optax.GradientTransformation)),
    "callbacks": (callbacks, Callback),
}
SEVERAL = ("regularizers", "callbacks")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Epochs, optimizer, schedule, and the methods that take part.

    The learning rate rises linearly over the first `warmup` share of all steps and then follows `schedule`.
    Each epoch goes through the training images once in a new random order; what does not fill a batch is left
    out of that epoch. A method is text, such as "gccs(mean=10.0)", or an object of one's own.

    Args:
        epochs: passes over the training images.
        batch_size: images a step, or in each batch of the update rule's; no more than there are.
        learning_rate: at its peak.
        optimizer: `adamw` (Loshchilov and Hutter 2019), or `sgd` with momentum.
        momentum: of sgd; adamw's first-moment decay.
        nesterov: whether sgd's momentum looks ahead.
        weight_decay: decoupled, on kernels only (not on biases and norms).
        schedule: `cosine` falls to 0 along half a cosine, `linear` along a line, `constant` stays.
        warmup: share of all steps in 0 .. 1.
        clip_norm: the gradient's global norm is scaled down to this.
        objective: the loss, of `pwact.objectives`.
        regularizers: of `pwact.regularizers`: penalties added to the loss, or optax transformations that
            stand where weight decay does.
        update: how the gradient is made of batches, of `pwact.updates`.
        initializer: of `pwact.initializers`; the model's own if `default`.
        callbacks: of `pwact.callbacks`; called after a step or an epoch, they may edit the parameters.
        augment: of `pwact.data.augment`, applied to stored images.
        sampling: `shuffled`, or `balanced`: each batch holds equally many of each class, and a class that has
            fewer images than the epoch asks for gives some twice.
        ema: decay a step of an exponential moving average of the parameters, which is then what is evaluated
            and returned; 0 for none. After t steps it is min(ema, (1 + t) / (10 + t)). It follows what
            callbacks edit, late: weights that they prune are small in it, not 0.
        accumulate: parts that a batch is computed in, one after the other, for its memory; their mean
            gradient is used. A loss or norm over a batch then sees the parts.
        precision: `bfloat16` computes forward and backward in it; parameters and loss stay float32.

    Raises:
        PwactError: a value out of range or a method that is not there; the message says which.

    Example:
        >>> from pwact.train import Recipe
        >>> Recipe(epochs=3).steps(1000)
        45
        >>> Recipe(objective="cross_entropy(label_smoothing=0.1)").objective
        'cross_entropy(label_smoothing=0.1)'
    """

    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 1e-2
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-2
    schedule: Schedule = "cosine"
    warmup: float = 0.2
    clip_norm: float = 1.0
    objective: str | Objective = "cross_entropy()"
    regularizers: tuple[str | Penalty | optax.GradientTransformation, ...] = ()
    update: str | UpdateRule = "plain()"
    initializer: str | Initializer = "default()"
    callbacks: tuple[str | Callback, ...] = ()
    augment: str | Augmentation | None = None
    sampling: Sampling = "shuffled"
    ema: float = 0.0
    accumulate: int = 1
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PwactError(f"{name} as a whole number of 1 or more", repr(value), f"correct {name}")
        for name, least, most, open_below in (
            ("learning_rate", 0, math.inf, True),
            ("momentum", 0, 1, False),
            ("weight_decay", 0, math.inf, False),
            ("warmup", 0, 1, False),
            ("clip_norm", 0, math.inf, True),
            ("ema", 0, 1, False),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not (least < value if open_below else least <= value) or value > most:
                raise PwactError(f"{name} in {least} .. {most}", repr(value), f"correct {name}")
        for name, kind in (
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("sampling", Sampling),
            ("precision", Precision),
        ):
            if getattr(self, name) not in get_args(kind):
                raise PwactError(
                    f"{name} as one of: {', '.join(get_args(kind))}",
                    repr(getattr(self, name)),
                    "pick one of these",
                )
        if self.nesterov not in (True, False):
            raise PwactError("nesterov as True or False", repr(self.nesterov), "correct nesterov")
        if self.batch_size % self.accumulate:
            raise PwactError(
                "a batch that divides into `accumulate` equal parts",
                f"batch_size={self.batch_size}, accumulate={self.accumulate}",
                "change one of them",
            )
        for name, (room, kinds) in DOORS.items():
            value = getattr(self, name)
            if name in SEVERAL:
                kept: Any = tuple(entered(name, each, room, kinds) for each in value)
            elif name == "augment":
                kept = None if value is None else opened(value, room)
                if kept is not None and not isinstance(kept, Augmentation):
                    raise PwactError(
                        "augment as an Augmentation, or as text that makes one",
                        repr(value)[:80],
                        "see pwact.data.augment.__all__",
                    )
            else:
                kept = entered(name, value, room, kinds)
            object.__setattr__(self, name, kept)

    def method(self, door: str) -> Any:
        """The method behind a door, or the tuple of them.

        Example:
            >>> from pwact.train import Recipe
            >>> type(Recipe().method("objective")).__name__
            'Objective'
        """
        value, (room, _) = getattr(self, door), DOORS[door]
        if door in SEVERAL:
            return tuple(opened(each, room) for each in value)
        return None if value is None else opened(value, room)

    def with_numbers(self, numbers: Mapping[str, float]) -> Recipe:
        """The recipe with other values of some of `NUMBERS`.

        Example:
            >>> from pwact.train import Recipe
            >>> Recipe().with_numbers({"learning_rate": 0.5}).learning_rate
            0.5
        """
        return dataclasses.replace(self, **dict[str, Any](numbers))

    def structure(self) -> Recipe:
        """What the compiled program depends on: the recipe with its numbers at their defaults.

        Example:
            >>> from pwact.train import Recipe
            >>> Recipe(learning_rate=0.1).structure() == Recipe(learning_rate=0.2).structure()
            True
        """
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(self)}
        return self.with_numbers({name: defaults[name] for name in NUMBERS})

    def images_per_step(self, images: int) -> int:
        """Images that one step takes of so many: those of all batches of the update rule."""
        batches = self.method("update").batches
        return int(min(self.batch_size, images // batches)) * int(batches)

    def steps_per_epoch(self, images: int) -> int:
        """Optimizer steps in one epoch over so many images."""
        return max(1, images // max(1, self.images_per_step(images)))

    def steps(self, images: int) -> int:
        """Optimizer steps of the whole recipe over so many images."""
        return self.epochs * self.steps_per_epoch(images)

    def rate(self, step: Any, images: int) -> jax.Array:
        """The share of the peak learning rate at a step, in 0 .. 1.

        Args:
            step: 0 for the first; an integer or an array.
            images: in the training set.

        Example:
            >>> from pwact.train import Recipe
            >>> [round(float(Recipe(epochs=1).rate(step, 640)), 3) for step in (0, 2, 6)]
            [0.01, 1.0, 0.5]
        """
        steps = self.steps(images)
        warm = min(round(self.warmup * steps), steps - 1)
        at = jnp.asarray(step, jnp.float32)
        rising = 0.01 + 0.99 * at / max(warm, 1)
        gone = jnp.clip((at - warm) / (steps - warm), 0.0, 1.0)
        falling = {
            "cosine": 0.5 * (1 + jnp.cos(jnp.pi * gone)),
            "linear": 1 - gone,
            "constant": jnp.ones_like(gone),
        }[self.schedule]
        return jnp.where(at < warm, rising, falling)

    def transformation(self, numbers: Mapping[str, Any], images: int) -> optax.GradientTransformation:
        """The optax transformation for a training set of so many images.

        Args:
            numbers: the values of `NUMBERS`, which may be traced.
            images: in the training set.
        """
        scale = (
            optax.scale_by_adam(b1=numbers["momentum"])
            if self.optimizer == "adamw"
            else optax.trace(numbers["momentum"], nesterov=self.nesterov)
        )
        decoupled = [each for each in self.method("regularizers") if not isinstance(each, Penalty)]
        return optax.chain(
            _clip(numbers["clip_norm"]),
            scale,
            optax.add_decayed_weights(numbers["weight_decay"], mask=_kernels),
            *decoupled,
            optax.scale_by_schedule(lambda step: -numbers["learning_rate"] * self.rate(step, images)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them; a method is the text that makes it."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in DOORS:
            value = found[name]
            if name in SEVERAL:
                found[name] = [written(each) for each in value]
            elif name == "augment":
                found[name] = None if value is None else value.describe()
            else:
                found[name] = written(value)
        return found

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` or a person wrote.

        Raises:
            PwactError: a field that a recipe does not have, a value out of range, or a method that no text
                makes: one of the user's own.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not set(fields) <= known:
            raise PwactError(
                f"any of: {', '.join(sorted(known))}",
                ", ".join(sorted(set(fields) - known)),
                "correct the fields of the recipe",
            )
        for name in DOORS.keys() & fields.keys():
            for text in fields[name] if name in SEVERAL else (fields[name],):
                try:
                    opened(text, DOORS[name][0])
                except PwactError as error:
                    raise PwactError(
                        f"{name} as text that makes it: {error.expected}",
                        error.found,
                        "correct it, or pass recipe= with the method of your own, which no file holds",
                    ) from None
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**values)


def _clip(limit: Any) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, for a limit that is traced."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        norm = optax.tree.norm(updates)
        return jax.tree.map(lambda leaf: jnp.where(norm < limit, leaf, leaf / norm * limit), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


#: Ten seeds reach about 97 % on held-out `mnist5k` images in some 15 seconds on two cores.
QUICK = Recipe()

#: For shuffled labels: long enough, and free enough, to learn most of them by heart.
MEMORISE = dataclasses.replace(QUICK, epochs=20, weight_decay=0.0)
