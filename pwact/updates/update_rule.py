"""What an update rule is: losses of one or more batches become the gradient that the optimizer sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxtyping import Array

Loss = Callable[[Any, Any, Any], tuple[Array, Any]]
"""`loss(params, batch, key) -> (value, aux)`: one batch's loss, penalties included, and what comes of it."""


class UpdateRule(NamedTuple):
    """How a step's gradient is made, for one network; usable inside any `jit` or `vmap`.

    Args:
        batches: disjoint batches that a step draws, each of `Recipe.batch_size` images.
        gradient: `gradient(loss, params, batches, keys, learning_rate) -> (value, aux, gradient, logs)`.
            `batches` is a tuple of so many batches; `keys[i]` is for what is random in the i-th pass.
            `learning_rate` is the current one, f32[]. `value` is what the gradient is of, `aux` that of the
            pass whose running statistics are kept, `gradient` a pytree like `params`, `logs` numbers f32[]
            by name for the metrics file.
    """

    batches: int
    gradient: Callable[[Loss, Any, Sequence[Any], Any, Array], tuple[Array, Any, Any, dict[str, Array]]]
