"""Does the instrument tell the truth? A metric is admissible only if it passes here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pwact.core.probe import probe
from pwact.records import Calibration, PlantedCheck
from pwact.studies import arrangement, concentration, inference, nulls, planted
from pwact.studies.arrangement import AII_S, DIFFERENCE, RETAINED
from pwact.studies.concentration import GINI
from pwact.studies.config import CalibrationRule


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Chance that a value of the first kind exceeds one of the second; ties count half.

    Args:
        positive: values that should be higher.
        negative: values that should be lower.

    Returns:
        The area under the ROC curve; NaN where a value is undefined or a side is empty.

    Example:
        >>> auroc([0.9, 0.8], [0.1, 0.8])
        0.875
    """
    one, other = np.asarray(positive, float)[:, None], np.asarray(negative, float)[None]
    if not (one.size and other.size and np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    return float(np.mean((one > other) + 0.5 * (one == other)))


def calibrate(
    metric: str,
    prediction: str,
    bag: Sequence[float],
    relation: Sequence[float],
    planted_checks: Sequence[PlantedCheck],
    rule: CalibrationRule,
    how: str,
) -> Calibration:
    """One metric's calibration.

    Args:
        metric: its name.
        prediction: which prediction it decides.
        bag: its value on each network trained on `bag`, where it should be higher.
        relation: the same on `relation`.
        planted_checks: networks and nulls whose answer is known.
        rule: what must be passed.
        how: how the numbers were made.

    Returns:
        The record; `admissible` needs enough networks, the AUROC and every planted answer.
    """
    area = auroc(bag, relation)
    enough = min(len(bag), len(relation)) >= rule.seeds
    passed = enough and area >= rule.auroc and all(check.passed for check in planted_checks)
    short = "" if enough else f" Fewer than {rule.seeds} networks of each kind: not admissible by rule."
    return Calibration(
        metric=metric,
        prediction=prediction,
        auroc=area,
        required_auroc=rule.auroc,
        bag=[float(each) for each in bag],
        relation=[float(each) for each in relation],
        planted=list(planted_checks),
        admissible=bool(passed),
        how=how + short,
    )


def accuracy_check(network: str, found: float, rule: CalibrationRule) -> PlantedCheck:
    """Did the networks learn the synthetic task at all? Their mean held-out accuracy must show it."""
    words = f"held-out accuracy >= {rule.accuracy:g}"
    return PlantedCheck(f"trained on {network}", words, found, found >= rule.accuracy)


def arrangement_planted(rule: CalibrationRule, permutations: int) -> dict[str, list[PlantedCheck]]:
    """P1's metrics on networks built by hand.

    AII_s is 1 for a bag, 0 for arrangement, 1/P for one fixed place; AII_s - AII_i is 0 where channels are
    added up or where only arrangement counts. Retained accuracy is taken on the networks' own decisions as
    labels, some redrawn at random: they need no training to be as good as they get, with the shuffle or
    without, so a bag retains 1 and a reader of arrangement 0.

    Args:
        rule: the tolerance, and what is planted.
        permutations: number an image.

    Returns:
        For each metric one check a kind of network whose answer is known, each over a few of them.
    """
    checks: dict[str, list[PlantedCheck]] = {AII_S: [], DIFFERENCE: [], RETAINED: []}
    for make, answers in (
        (planted.sums_scores, {AII_S: 1.0, RETAINED: 1.0}),
        (planted.adds_channels, {AII_S: 1.0, DIFFERENCE: 0.0, RETAINED: 1.0}),
        (planted.reads_arrangement, {AII_S: 0.0, DIFFERENCE: 0.0, RETAINED: 0.0}),
        (planted.reads_one_position, {AII_S: 1 / planted.SIZE**2}),
    ):
        networks = [make(seed) for seed in range(rule.planted_seeds)]
        found = _of_p1(networks, permutations, rule)
        for metric, answer in answers.items():
            checks[metric].append(_near(networks[0].words, metric, answer, found[metric], rule))
    return checks


def _of_p1(networks: Sequence[planted.Planted], permutations: int, rule: CalibrationRule) -> dict[str, float]:
    """P1's metrics of several planted networks of one kind."""
    images = planted.images(rule.planted_images, seed=0)
    variables = jax.tree.map(lambda *each: jnp.stack(each), *(each.variables for each in networks))
    cut = probe(networks[0].function, images[:2], variables=networks[0].variables).cut(planted.SITE)
    modes = ("joint", "channel")
    moved = arrangement.measure(
        jax.jit(arrangement.decisions(cut, modes=modes)),
        variables,
        images,
        map_shape=images.shape[1:],
        modes=modes,
        permutations=permutations,
        key=jax.random.key(0),
    )
    weights = inference.all_once(len(networks), len(images))
    joint, channel = (
        arrangement.aii(moved.agreement[:, i], moved.clean, planted.CLASSES, weights).estimate
        for i in range(2)
    )
    labels = planted.noisy(moved.clean, rule.planted_noise, seed=0)
    kept = arrangement.retained(
        (moved.clean == labels).astype(float),
        (moved.shuffled[:, 0] == labels[:, None]).mean(1),
        planted.CLASSES,
        weights,
    )
    return {AII_S: joint, DIFFERENCE: joint - channel, RETAINED: kept.estimate}


def concentration_planted(rule: CalibrationRule, margin_error: float) -> list[PlantedCheck]:
    """Gini of networks where exactly k of P points contribute alike: 1 - k/P.

    Args:
        rule: the tolerance, and what is planted.
        margin_error: as in `concentration.checked`.

    Returns:
        One check a k.
    """
    images = planted.images(rule.planted_images, seed=0)
    points = planted.SIZE**2
    counts = (1, 4, points // 4, points)
    networks = [planted.contributes_at(k, seed=k) for k in counts]
    variables = jax.tree.map(lambda *each: jnp.stack(each), *(each.variables for each in networks))
    cut = probe(networks[0].function, images[:2], variables=networks[0].variables).cut(planted.SITE)
    program = jax.jit(concentration.measure(cut, keep=1))
    found = concentration.checked(
        program(variables, images, jax.random.key(0)), "planted", margin_error=margin_error
    )
    return [
        _near(network.words, GINI, 1 - k / points, np.mean(gini), rule)
        for network, k, gini in zip(networks, counts, found.gini, strict=True)
    ]


def null_checks(
    planted_nulls: Sequence[nulls.Null], rule: CalibrationRule, *, level: float, seed: int
) -> list[PlantedCheck]:
    """Share of false verdicts on each planted null.

    Args:
        planted_nulls: of one prediction.
        rule: the largest share allowed, and how many studies are simulated.
        level: of the intervals.
        seed: of the simulations.

    Returns:
        One check a null.
    """
    checks = []
    for null in planted_nulls:
        found = nulls.false_share(null, rule, level=level, seed=seed)
        words = f"false verdicts <= {rule.false_verdicts:g}"
        checks.append(PlantedCheck(f"planted null: {null.words}", words, found, found <= rule.false_verdicts))
    return checks


def _near(network: str, metric: str, expected: float, found: Any, rule: CalibrationRule) -> PlantedCheck:
    passed = bool(abs(found - expected) <= rule.tolerance)
    return PlantedCheck(network, f"{metric} = {expected:.3g} +- {rule.tolerance:g}", float(found), passed)
