"""Weights set to zero in the course of training, the smallest first."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pwact.callbacks.callback import Callback
from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError


@memoized
def gradual_pruning(sparsity: float, begin: float = 0.0, end: float = 1.0) -> Callback:
    """Prunes each kernel by magnitude, fast at first and slowly later, to a sparsity that stays.

    s(t) = sparsity * (1 - (1 - (t - begin) / (end - begin))^3)   for t, the share of all steps taken

    After every step the round(s(t) * size) weights of least magnitude of each kernel are zero; those that
    were pruned stay so, and go first. Every kernel reaches the same sparsity, the head's too.

    Args:
        sparsity: share of zeros in the end, in 0 .. 1, below 1.
        begin: share of all steps before the first weight goes.
        end: share of all steps at which `sparsity` is reached; above `begin`.

    Returns:
        A callback on kernels (arrays of two axes or more). Its state holds a mask for each, true where
        weights live, in the order of `jax.tree.leaves`.

    Raises:
        PwactError: shares that are not in order in 0 .. 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.callbacks import gradual_pruning
        >>> params, key = {"kernel": jnp.array([[4.0, -1.0], [2.0, -3.0]])}, jax.random.key(0)
        >>> prune = gradual_pruning(0.5)
        >>> state, pruned = prune.update(prune.init(params), params, jnp.int32(9), jnp.int32(10), key)
        >>> pruned["kernel"].tolist()
        [[4.0, 0.0], [0.0, -3.0]]

    Reference: M. Zhu, S. Gupta, To prune, or not to prune: exploring the efficacy of pruning for model
        compression, arXiv 1710.01878. Status: abstract (schedule and magnitude; the mask follows it at every
        step instead of every hundredth or so, and nothing grows back).
    """
    do = "give shares of all weights and steps"
    sparsity, begin, end = (
        finite_number(name, value, do)
        for name, value in (("sparsity", sparsity), ("begin", begin), ("end", end))
    )
    if not 0 <= sparsity < 1:
        raise PwactError("sparsity in 0 .. 1, below 1", repr(sparsity), do)
    if not 0 <= begin < end <= 1:
        raise PwactError("0 <= begin < end <= 1", f"begin={begin}, end={end}", do)

    def init(params: Any) -> tuple[Array, ...]:
        return tuple(jnp.ones(leaf.shape, bool) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)

    def update(
        state: tuple[Array, ...], params: Any, step: Int[Array, ""], steps: Int[Array, ""], key: Any
    ) -> tuple[tuple[Array, ...], Any]:
        share = (step + 1) / steps
        gone = jnp.clip((share - begin) / (end - begin), 0, 1)
        target = sparsity * (1 - (1 - gone) ** 3)
        leaves, structure = jax.tree.flatten(params)
        kernels = [leaf for leaf in leaves if leaf.ndim > 1]
        masks = tuple(_masked(mask, leaf, target) for mask, leaf in zip(state, kernels, strict=True))
        at = iter(masks)
        return masks, jax.tree.unflatten(
            structure, [jnp.where(next(at), leaf, 0) if leaf.ndim > 1 else leaf for leaf in leaves]
        )

    return Callback(init, update, "step")


def _masked(mask: Bool[Array, "*shape"], kernel: Float[Array, "*shape"], share: Array) -> Array:
    """The mask with so large a share of all weights false, those that were false among them."""
    score = jnp.where(mask, jnp.abs(kernel), -1).ravel()
    lives = jnp.arange(score.size) >= jnp.round(share * score.size)
    return mask & jnp.zeros(score.size, bool).at[jnp.argsort(score)].set(lives).reshape(kernel.shape)
