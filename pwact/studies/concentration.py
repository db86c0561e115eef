"""P4: do few points of the last map carry the margin?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pwact.errors import PwactError
from pwact.records import Control
from pwact.studies import contribution, fills, inference, orders, verdict
from pwact.studies.config import ConcentrationRule
from pwact.studies.inference import Resamples
from pwact.studies.verdict import Evidence, Measured

ORDERS = ("contribution", "random", "blob")
FILLS = ("dataset mean", "another image")
GINI = "Gini"
ABOVE_UNTRAINED = "Gini, trained - untrained"
ABOVE_SHUFFLED = "Gini, trained - shuffled labels, on training images"

TITLE = "Concentration: few points carry the margin"
HOW = (
    "The head averages the last map and is linear, so the margin between the decision and the runner-up "
    "is a sum over points, c_p = (w_y - w_c).a_p / P, plus a difference of biases; that the sum is the "
    "margin is checked on every image, and a network where it is not is refused. The Gini index of the "
    "positive parts of c_p is averaged over images and seeds; an image without any positive part has no "
    "index and is left out. Trained networks are compared with untrained ones on held-out images, and with "
    "networks of shuffled labels on the training images that both saw: shuffled labels are known on no "
    "others, and on one set of images the labels are all that differs. Both differences are paired by seed "
    "and image. The rule removes no point; beside it, as a causal check that decides nothing, only the "
    "budget's share of points with the highest c_p is kept, under both fills."
)


class Concentration(NamedTuple):
    """How the margin of every image is spread over the points of the last map.

    Args:
        gini, hoyer, k90: of the positive contributions; NaN where there are none.
        lorenz: mean over images of the Lorenz curve, P + 1 values.
        error: largest relative error of "contributions and biases add up to the margin".
        kept: whether the decision stays with only the first points of each order of `ORDERS` kept,
            under each fill of `FILLS`.
        nothing: the same with no point kept.
    """

    gini: Float[Array | np.ndarray, "seed image"]
    hoyer: Float[Array | np.ndarray, "seed image"]
    k90: Float[Array | np.ndarray, "seed image"]
    lorenz: Float[Array | np.ndarray, "seed share"]
    error: Float[Array | np.ndarray, " seed"]
    kept: Bool[Array | np.ndarray, "seed order fill image"]
    nothing: Bool[Array | np.ndarray, "seed fill image"]


def head_weights(variables: Any) -> tuple[Float[Array, "channel class"], Float[Array, " class"]]:
    """Kernel and bias of the module `head` in a network's variables.

    Args:
        variables: any pytree with leaves at `...head.kernel` and `...head.bias`.

    Returns:
        The two arrays.

    Raises:
        PwactError: no such leaves.

    Example:
        >>> head = {"head": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
        >>> [each.shape for each in head_weights(head)]
        [(3, 2), (2,)]
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        names = [jax.tree_util.keystr((key,), simple=True) for key in path]
        for name in ("kernel", "bias"):
            if "head" in names and name in names[names.index("head") :]:
                found[name] = leaf
    if set(found) != {"kernel", "bias"}:
        raise PwactError(
            "variables with head.kernel and head.bias",
            ", ".join(sorted(found)) or "neither",
            "measure concentration on a network with a linear head named head",
        )
    return found["kernel"], found["bias"]


def measure(
    cut: Any, *, keep: int
) -> Callable[[Any, Float[Array, "image ..."], PRNGKeyArray], Concentration]:
    """A program that splits margins over the points of the last map.

    Args:
        cut: a probe's cut at the map that the head averages.
        keep: number of points kept in the causal check.

    Returns:
        A pure function (variables with a leading seed axis, images, key) -> `Concentration`.
    """

    def one_network(network: Any, images: Float[Array, "image ..."], key: PRNGKeyArray) -> Concentration:
        last, rest = cut.below(network, images)
        logits = cut.above(network, last, rest)
        parts = contribution.contributions(last, logits, *head_weights(network))
        positive = jnp.maximum(parts.point, 0.0).reshape(last.shape[0], -1)

        keys = jax.random.split(key, 3)
        scores = (
            parts.point,
            orders.random_order(keys[0], parts.point.shape),
            orders.blob_order(keys[1], parts.point.shape),
        )
        filled = (
            fills.mean_fill(last.mean((0, 1, 2)), last),
            fills.other_image_fill(keys[2], last),
        )

        def stays(changed: Array) -> Array:
            return cut.above(network, changed, rest).argmax(-1) == parts.decision

        masks = [orders.top_points(score, keep) for score in scores]
        kept = [jnp.stack([stays(fills.keep(last, mask, fill)) for fill in filled]) for mask in masks]
        return Concentration(
            contribution.gini(positive),
            contribution.hoyer(positive),
            contribution.k90(positive),
            jnp.nanmean(contribution.lorenz(positive), 0),
            parts.error.max(),
            jnp.stack(kept),
            jnp.stack([stays(fill) for fill in filled]),
        )

    def program(variables: Any, images: Float[Array, "image ..."], key: PRNGKeyArray) -> Concentration:
        return jax.lax.map(lambda network: one_network(network, images, key), variables)

    return program


def checked(measured: Concentration, network: str, *, margin_error: float) -> Concentration:
    """The measurement, once its contributions are known to add up to the margin.

    Args:
        measured: from the program.
        network: what to call the networks in an error.
        margin_error: largest error allowed, as a share of the sizes that were added up.

    Returns:
        The same, as NumPy arrays.

    Raises:
        PwactError: they do not, in some network.
    """
    worst = float(np.max(measured.error))
    if not worst <= margin_error:
        raise PwactError(
            f"contributions that add up to the margin within {margin_error:g} in {network!r}",
            f"a relative error of {worst:.2g}",
            "use a network whose head is linear on the average of the last map",
        )
    return Concentration(*(np.asarray(each) for each in measured))


def mean(table: Float[np.ndarray, "seed image"], weights: Resamples) -> Measured:
    """Mean of a metric over seeds and images, where it is defined."""
    return verdict.measure(lambda w: inference.mean_draws(table, w), weights)


def kappa(measured: Concentration, order: int, fill: int, weights: Resamples) -> Measured:
    """Share of decisions that the kept points reproduce beyond what nothing kept reproduces.

    Args:
        measured: from the program.
        order: place in `ORDERS`.
        fill: place in `FILLS`.
        weights: the bootstrap's.

    Returns:
        kappa; NaN where nothing kept reproduces every decision.
    """

    def value(w: Resamples) -> np.ndarray:
        kept = inference.mean_draws(np.asarray(measured.kept[:, order, fill], float), w)
        return fills.kappa(kept, inference.mean_draws(np.asarray(measured.nothing[:, fill], float), w))

    return verdict.measure(value, weights)


def evidence(
    gini: Measured,
    above_untrained: Measured,
    above_shuffled: Measured,
    rule: ConcentrationRule,
    *,
    level: float,
    controls: list[Control],
) -> Evidence:
    """The criteria of P4.

    Support: Gini, lower bound >= 0.6, and its differences from untrained and from shuffled-label
    networks, lower bounds > 0. Refute: either difference, upper bound <= 0. (Numbers as in the rule's
    defaults.)

    Differences are to be paired, and shuffled labels have decisions of their own on their training images
    only. So that comparison is made on those images for both kinds: trained networks on held-out images
    would differ from the others in two ways, in their labels and in having seen the images.

    Args:
        gini: of the trained networks, on held-out images.
        above_untrained: theirs minus that of the untrained networks on the same images.
        above_shuffled: minus that of those trained on shuffled labels, both on their training images.
        rule: the thresholds.
        level: of the intervals.
        controls: for the record.

    Returns:
        The evidence, not yet judged.
    """
    support = [verdict.lower(GINI, "support", gini, rule.gini_support, level=level)]
    refute = []
    for name, above in ((ABOVE_UNTRAINED, above_untrained), (ABOVE_SHUFFLED, above_shuffled)):
        support.append(
            verdict.lower(name, "support", above, rule.difference_support, level=level, strict=True)
        )
        refute.append(verdict.upper(name, "refute", above, rule.difference_refute, level=level))
    return Evidence("P4", "B", TITLE, support, refute, controls, gini.seeds, f"{HOW} {inference.HOW}")
