"""P1: does a decision survive when the points of a map change places?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pwact.records import Control
from pwact.studies import inference, shuffles, verdict
from pwact.studies.config import ArrangementRule
from pwact.studies.inference import Resamples
from pwact.studies.verdict import Evidence, Measured

MODES = ("joint", "channel", "rotated")
MICRO_BATCH = 8

TITLE = "Arrangement: decisions use a bag of point vectors"
HOW = (
    "Within each image the point vectors of the primary layer's map change places at random: jointly "
    "(AII_s), or each channel on its own (AII_i). Agreement is the share of images, over all "
    "permutations, whose decision stays; AII = (agreement - chance)/(1 - chance), where chance is the "
    "agreement of the decisions with those of the same images in shuffled order (its expectation over all"
    " orders). Retained accuracy is (accuracy - 1/K) of networks trained and tested with the joint "
    "shuffle in place over (accuracy - 1/K) of networks trained and tested without. Both means in an "
    "index run over seeds and images before the ratio is taken. No point is removed, so no fill is "
    "involved."
)


class Shuffled(NamedTuple):
    """Decisions of every network, as they are and under every permutation."""

    clean: Int[np.ndarray, "seed image"]
    shuffled: Int[np.ndarray, "seed mode permutation image"]

    @property
    def agreement(self) -> Float[np.ndarray, "seed mode image"]:
        """Share of permutations under which an image's decision stays."""
        return (self.shuffled == self.clean[:, None, None]).mean(2)


def decisions(
    cut: Any, *, modes: tuple[str, ...] = MODES[:2], permutations: int
) -> Callable[[Any, Float[Array, "image ..."], PRNGKeyArray], tuple[Array, Array]]:
    """A program that permutes a map's points and reads the decisions.

    Every image gets its own permutations, the same for every seed; the part of the network below the
    cut runs once an image.

    Args:
        cut: a probe's cut at the layer; the map is [batch, row, column, channel].
        modes: which permutations: `joint`; `channel`, each channel on its own; `rotated`, the same in a
            randomly rotated basis of the channels, the control of what is special about single channels.
        permutations: number an image and mode.

    Returns:
        A pure function (variables with a leading seed axis, images, key) -> (clean [seed, image],
        shuffled [seed, mode, permutation, image]); the number of images is a multiple of `MICRO_BATCH`.
    """

    def program(variables: Any, images: Float[Array, "image ..."], key: PRNGKeyArray) -> tuple[Array, Array]:
        count = images.shape[0] // MICRO_BATCH
        batches = images.reshape(count, MICRO_BATCH, *images.shape[1:])
        first = jax.tree.map(lambda each: each[0], variables)
        shape = jax.eval_shape(cut.below, first, batches[0])[0].shape
        basis, orders = jax.random.split(key)
        moves = _moves(shuffles.rotation(basis, shape[-1]))

        def one_batch(item: tuple[Array, PRNGKeyArray]) -> tuple[Array, Array]:
            batch, batch_key = item
            keys = jax.random.split(batch_key, (2, permutations))
            # Sorting costs more than the network: the orders are drawn once for all seeds.
            points = jax.vmap(lambda k: shuffles.point_orders(k, shape))(keys[0])
            channels = jax.vmap(lambda k: shuffles.channel_orders(k, shape))(keys[1])

            def one_network(network: Any) -> tuple[Array, Array]:
                activation, rest = cut.below(network, batch)

                def decide(mode: str) -> Array:
                    def once(point: Array, channel: Array) -> Array:
                        return cut.above(network, moves[mode](activation, point, channel), rest).argmax(-1)

                    return jax.vmap(once)(points, channels)

                clean = cut.above(network, activation, rest).argmax(-1)
                return clean, jnp.stack([decide(mode) for mode in modes])

            return jax.lax.map(one_network, variables)

        clean, shuffled = jax.lax.map(one_batch, (batches, jax.random.split(orders, count)))
        clean = jnp.moveaxis(clean, 0, 1).reshape(clean.shape[1], -1)
        shuffled = jnp.moveaxis(shuffled, 0, -2)
        return clean, shuffled.reshape(*shuffled.shape[:-2], -1)

    return program


def _moves(rotation: Float[Array, "channel channel"]) -> dict[str, Callable[[Array, Array, Array], Array]]:
    return {
        "joint": lambda a, point, channel: shuffles.take(a, point),
        "channel": lambda a, point, channel: shuffles.take(a, channel),
        "rotated": lambda a, point, channel: shuffles.take(a @ rotation, channel) @ rotation.T,
    }


def aii(
    agreement: Float[np.ndarray, "seed image"],
    clean: Int[np.ndarray, "seed image"],
    classes: int,
    weights: Resamples,
) -> Measured:
    """Arrangement-insensitivity index: `(agreement - chance) / (1 - chance)`.

    Args:
        agreement: share of permutations under which each decision stays.
        clean: the decisions.
        classes: number of classes.
        weights: the bootstrap's.

    Returns:
        The index, 1 where arrangement does not matter and 0 where decisions keep no better than by
        chance; NaN where every network gives one answer only.
    """

    def value(w: Resamples) -> np.ndarray:
        chance = inference.chance_draws(np.eye(classes)[clean], w)
        free = 1 - chance
        above = inference.mean_draws(agreement, w) - chance
        return np.divide(above, free, out=np.full_like(free, np.nan), where=free > 1e-9)

    return verdict.measure(value, weights)


def by_seed(
    agreement: Float[np.ndarray, "seed image"], clean: Int[np.ndarray, "seed image"], classes: int
) -> Float[np.ndarray, " seed"]:
    """AII of every network by itself; NaN for one that gives one answer only.

    Args:
        agreement: share of permutations under which each decision stays.
        clean: the decisions.
        classes: number of classes.

    Returns:
        One index a seed.

    Example:
        >>> by_seed(np.array([[1.0, 0.5]]), np.array([[0, 1]]), 2)
        array([0.5])
    """
    chance = (np.eye(classes)[clean].mean(1) ** 2).sum(1)
    free = 1 - chance
    return np.divide(agreement.mean(1) - chance, free, out=np.full_like(free, np.nan), where=free > 1e-9)


def retained(
    correct: Float[np.ndarray, "seed image"],
    correct_shuffled: Float[np.ndarray, "seed image"],
    classes: int,
    weights: Resamples,
) -> Measured:
    """Accuracy above chance that is left when training and test both see shuffled points.

    `(acc - 1/K) / (acc_clean - 1/K)`, paired by seed and image.

    Args:
        correct: whether each image is classified rightly by the networks trained without the shuffle.
        correct_shuffled: share of permutations under which the networks trained with it do.
        classes: K.
        weights: the bootstrap's.

    Returns:
        The ratio; NaN where the networks trained without the shuffle are no better than chance.
    """

    def value(w: Resamples) -> np.ndarray:
        free = inference.mean_draws(correct, w) - 1 / classes
        kept = inference.mean_draws(correct_shuffled, w) - 1 / classes
        return np.divide(kept, free, out=np.full_like(free, np.nan), where=free > 1e-9)

    return verdict.measure(value, weights)


def evidence(
    aii_s: Measured,
    aii_i: Measured,
    kept: Measured,
    rule: ArrangementRule,
    *,
    level: float,
    controls: list[Control],
) -> Evidence:
    """The criteria of P1.

    Support: retained accuracy, lower bound >= 0.95; AII_s, lower bound >= 0.5; AII_s - AII_i, lower
    bound > 0.1. Refute: retained accuracy, upper bound < 0.85. (Numbers as in the rule's defaults.)

    Args:
        aii_s: under joint permutations of the trained networks' points.
        aii_i: under permutations of each channel on its own.
        kept: retained accuracy with the shuffle in training and test.
        rule: the thresholds.
        level: of the intervals.
        controls: for the record.

    Returns:
        The evidence, not yet judged.
    """
    difference = verdict.difference(aii_s, aii_i)
    name = "retained accuracy, shuffled in training and test"
    return Evidence(
        prediction="P1",
        reading="A",
        title=TITLE,
        support=[
            verdict.lower(name, "support", kept, rule.retained_support, level=level),
            verdict.lower("AII_s", "support", aii_s, rule.aii_support, level=level),
            verdict.lower(
                "AII_s - AII_i", "support", difference, rule.difference_support, level=level, strict=True
            ),
        ],
        refute=[verdict.upper(name, "refute", kept, rule.retained_refute, level=level, strict=True)],
        controls=controls,
        seeds=aii_s.seeds,
        how=HOW,
    )
