"""How a network is trained, in words that a person can read and write."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

import jax
import optax

from pwact.errors import PwactError

Optimizer = Literal["adamw", "sgd"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Epochs, optimizer and learning-rate schedule.

    The learning rate rises linearly over the first `warmup` share of all steps and falls to 0 along a half
    cosine. Each epoch goes through the training images once in a new random order; what does not fill a batch
    is left out of that epoch.

    Args:
        epochs: passes over the training images.
        batch_size: images a step; the whole training set where that is smaller.
        learning_rate: at its peak.
        optimizer: `adamw` (Loshchilov and Hutter 2019), or `sgd` with Nesterov momentum.
        momentum: of sgd; adamw's first-moment decay.
        weight_decay: decoupled, on kernels only (not on biases and norms).
        warmup: share of all steps in 0 .. 1.
        clip_norm: the gradient's global norm is scaled down to this.
        label_smoothing: share of each label spread evenly over all classes.

    Raises:
        PwactError: a value out of range; the message says which.

    Example:
        >>> from pwact.train import Recipe
        >>> Recipe(epochs=3).steps(1000)
        45
    """

    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 1e-2
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-2
    warmup: float = 0.2
    clip_norm: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PwactError(f"{name} as a whole number of 1 or more", repr(value), f"correct {name}")
        for name, least, most, open_below in (
            ("learning_rate", 0, math.inf, True),
            ("momentum", 0, 1, False),
            ("weight_decay", 0, math.inf, False),
            ("warmup", 0, 1, False),
            ("clip_norm", 0, math.inf, True),
            ("label_smoothing", 0, 1, False),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and math.isfinite(value)
            if not number or not (least < value if open_below else least <= value) or value > most:
                raise PwactError(f"{name} in {least} .. {most}", repr(value), f"correct {name}")
        if self.optimizer not in get_args(Optimizer):
            raise PwactError(
                f"one of: {', '.join(get_args(Optimizer))}", repr(self.optimizer), "pick one of these"
            )

    def steps_per_epoch(self, images: int) -> int:
        """Optimizer steps in one epoch over so many images."""
        return max(1, images // self.batch_size)

    def steps(self, images: int) -> int:
        """Optimizer steps of the whole recipe over so many images."""
        return self.epochs * self.steps_per_epoch(images)

    def transformation(self, images: int) -> optax.GradientTransformation:
        """The optax transformation for a training set of so many images."""
        steps = self.steps(images)
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=self.learning_rate / 100,
            peak_value=self.learning_rate,
            warmup_steps=min(round(self.warmup * steps), steps - 1),
            decay_steps=steps,
        )
        scale = (
            optax.scale_by_adam(b1=self.momentum)
            if self.optimizer == "adamw"
            else optax.trace(self.momentum, nesterov=True)
        )
        return optax.chain(
            optax.clip_by_global_norm(self.clip_norm),
            scale,
            optax.add_decayed_weights(self.weight_decay, mask=_kernels),
            optax.scale_by_learning_rate(schedule),
        )


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


#: Ten seeds reach about 97 % on held-out `mnist5k` images in some 15 seconds on two cores.
QUICK = Recipe()

#: For shuffled labels: long enough, and free enough, to learn most of them by heart.
MEMORISE = dataclasses.replace(QUICK, epochs=20, weight_decay=0.0)
