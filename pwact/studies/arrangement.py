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
CHUNK = 64
AII_S, DIFFERENCE, RETAINED = "AII_s", "AII_s - AII_i", "retained accuracy"

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


class Orders(NamedTuple):
    """Where the points of every image go, in every permutation, and a basis of the channels.

    Args:
        points: an order an image and permutation, for all channels together.
        channels: an order an image, permutation and channel, or `points` again where none is needed.
        rotation: orthogonal matrix.
    """

    points: Int[Array, "permutation image point 1"]
    channels: Int[Array, "permutation image point #channel"]
    rotation: Float[Array, "channel channel"]


def draw_orders(
    key: PRNGKeyArray, shape: tuple[int, int, int, int], permutations: int, modes: tuple[str, ...]
) -> Orders:
    """Uniformly random orders: each image has its own, the same for every network.

    Args:
        key: random key.
        shape: of the map, (image, row, column, channel).
        permutations: number an image.
        modes: what they are for; orders of single channels are drawn only where one needs them.

    Returns:
        The orders.
    """
    keys = jax.random.split(key, 3)
    many = (permutations * shape[0], *shape[1:])
    points = shuffles.point_orders(keys[0], many).reshape(permutations, shape[0], -1, 1)
    channels = points
    if set(modes) != {"joint"}:
        channels = shuffles.channel_orders(keys[1], many).reshape(*points.shape[:3], shape[-1])
    return Orders(points, channels, shuffles.rotation(keys[2], shape[-1]))


def decisions(
    cut: Any, *, modes: tuple[str, ...] = MODES
) -> Callable[[Any, Float[Array, "image ..."], Orders], tuple[Array, Array]]:
    """A program that permutes a map's points and reads the decisions.

    The part of the network below the cut runs once an image.

    Args:
        cut: a probe's cut at the layer; the map is [batch, row, column, channel].
        modes: which permutations: `joint`; `channel`, each channel on its own; `rotated`, the same in a
            randomly rotated basis of the channels, the control of what is special about single channels.

    Returns:
        A pure function (variables with a leading seed axis, images, orders) -> (clean [seed, image],
        shuffled [seed, mode, permutation, image]).
    """

    def program(variables: Any, images: Float[Array, "image ..."], orders: Orders) -> tuple[Array, Array]:
        moves = _moves(orders.rotation)

        def one_network(network: Any) -> tuple[Array, Array]:
            activation, rest = cut.below(network, images)

            def one_permutation(order: tuple[Array, Array]) -> Array:
                moved = [moves[mode](activation, *order) for mode in modes]
                above = jax.vmap(lambda a: cut.above(network, a, rest).argmax(-1))
                return above(jnp.stack(moved))

            clean = cut.above(network, activation, rest).argmax(-1)
            return clean, jax.lax.map(one_permutation, (orders.points, orders.channels))

        clean, shuffled = jax.lax.map(one_network, variables)
        return clean, shuffled.swapaxes(1, 2)

    return program


_draw = jax.jit(draw_orders, static_argnums=(1, 2, 3))


def measure(
    program: Any,
    variables: Any,
    images: Float[np.ndarray, "image row column channel"],
    *,
    map_shape: tuple[int, ...],
    modes: tuple[str, ...],
    permutations: int,
    key: PRNGKeyArray,
) -> Shuffled:
    """Run a program of `decisions` over images, part by part.

    Args:
        program: from `decisions` with the same modes, compiled.
        variables: with a leading seed axis.
        images: as the networks see them.
        map_shape: (row, column, channel) at the cut.
        modes: as in `decisions`.
        permutations: number an image.
        key: of the permutations. Same key, same permutations of the n-th image.

    Returns:
        The decisions on all images.
    """
    size = min(CHUNK, len(images))
    clean, shuffled = [], []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        # The last part repeats its last image up to the size that is compiled.
        padded = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0), (0, 0)), "edge")
        shape = (size, *map_shape)
        orders = _draw(jax.random.fold_in(key, start), shape, permutations, modes)
        found = program(variables, padded, orders)
        clean.append(np.asarray(found[0])[:, : len(part)])
        shuffled.append(np.asarray(found[1])[..., : len(part)])
    return Shuffled(np.concatenate(clean, -1), np.concatenate(shuffled, -1))


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
    """Arrangement-invariance index: `(agreement - chance) / (1 - chance)`.

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
        return ratio(inference.mean_draws(agreement, w) - chance, 1 - chance)

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
    return ratio(agreement.mean(1) - chance, 1 - chance)


def ratio(above: np.ndarray, free: np.ndarray) -> np.ndarray:
    """What lies above chance over what could; NaN where nothing could."""
    return np.divide(above, free, out=np.full(np.shape(free), np.nan), where=free > 1e-9)


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
        kept = inference.mean_draws(correct_shuffled, w) - 1 / classes
        return ratio(kept, inference.mean_draws(correct, w) - 1 / classes)

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
    return Evidence(
        prediction="P1",
        reading="A",
        title=TITLE,
        support=[
            verdict.lower(RETAINED, "support", kept, rule.retained_support, level=level),
            verdict.lower(AII_S, "support", aii_s, rule.aii_support, level=level),
            verdict.lower(
                DIFFERENCE, "support", difference, rule.difference_support, level=level, strict=True
            ),
        ],
        refute=[verdict.upper(RETAINED, "refute", kept, rule.retained_refute, level=level, strict=True)],
        controls=controls,
        seeds=aii_s.seeds,
        how=f"{HOW} {inference.HOW}",
    )
