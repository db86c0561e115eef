"""Calibrating every metric on networks that learnt `bag` and `relation`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pwact.data import split
from pwact.data.dataset import ArrayDataset
from pwact.data.sources import bag, relation
from pwact.records import Calibration, Network
from pwact.studies import arrangement, calibration, measure, nulls, shuffles
from pwact.studies.arrangement import AII_S, DIFFERENCE, RETAINED
from pwact.studies.concentration import GINI
from pwact.studies.config import StudyConfig
from pwact.studies.networks import Kind, fit
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention

SETS = {"bag": bag, "relation": relation}
WORDS = {
    "bag": "calibration: the class is which token is present",
    "relation": "calibration: every class has the same tokens, the class is how they lie",
}
PREDICTION = {AII_S: "P1", DIFFERENCE: "P1", RETAINED: "P1", GINI: "P4"}


class Learnt(NamedTuple):
    """Networks on one synthetic set, without and with shuffled points, and every metric of each seed."""

    fitted: dict[str, tuple[Trained, Network]]
    values: dict[str, list[float]]
    accuracy: float


def calibrate(
    config: StudyConfig, progress: Callable[[str, float], None]
) -> tuple[list[Calibration], dict[str, tuple[Trained, Network]]]:
    """Train on the synthetic sets, measure all metrics, and try them on what was planted.

    Args:
        config: the study.
        progress: called with (`bag`, `relation` or `planted`, share done).

    Returns:
        The calibration of each metric, and the networks with their lines in the record.
    """
    learnt = {name: _learn(name, config, functools.partial(progress, name)) for name in SETS}
    rule = config.calibration
    accuracy = [calibration.accuracy_check(name, each.accuracy, rule) for name, each in learnt.items()]
    progress("planted", 0.0)
    planted = calibration.arrangement_planted(rule, config.permutations) | {
        GINI: calibration.concentration_planted(rule, config.concentration.margin_error)
    }
    progress("planted", 0.3)
    null = [
        *nulls.arrangement_nulls(config.arrangement, rule, level=config.level),
        *nulls.concentration_nulls(config.concentration, rule, level=config.level),
    ]
    found = []
    for place, metric in enumerate(PREDICTION):
        own = [each for each in null if each.metric == metric]
        false = calibration.null_checks(own, rule, level=config.level, seed=config.seed)
        found.append(
            calibration.calibrate(
                metric,
                PREDICTION[metric],
                learnt["bag"].values[metric],
                learnt["relation"].values[metric],
                [*accuracy, *planted[metric], *false],
                rule,
                _how(config),
            )
        )
        progress("planted", 0.3 + 0.7 * (place + 1) / len(PREDICTION))
    return found, {name: pair for each in learnt.values() for name, pair in each.fitted.items()}


def _learn(name: str, config: StudyConfig, progress: Callable[[float], None]) -> Learnt:
    dataset: ArrayDataset = SETS[name](size=config.synthetic_images, seed=config.seed)
    splits = split(dataset, seed=config.seed)
    model = config.model(dataset.image_shape, dataset.num_classes)
    clean = Kind(name, WORDS[name], model, config.synthetic)
    in_place = clean._replace(
        name=f"{name}, shuffled points",
        description=f"{WORDS[name]}; trained and tested with shuffled points",
        interventions=(Intervention(config.primary_site, shuffles.joint),),
    )
    fitted = {}
    for kind, start in ((clean, 0.0), (in_place, 0.5)):
        half = functools.partial(_within, progress, start)
        fitted[kind.name] = fit(kind, config, splits, seeds=config.calibration_seeds, progress=half)
    sample = measure.sample(splits["test"], fitted[name][0].preprocess, config.images, seed=config.seed)

    def moved(kind: Kind, modes: tuple[str, ...]) -> arrangement.Shuffled:
        return measure.moved(
            model,
            fitted[kind.name][0].variables,
            sample.images,
            site=config.primary_site,
            modes=modes,
            permutations=config.permutations,
            key=measure.key_for(config.seed, f"points of {name}"),
        )

    decided, kept = moved(clean, ("joint", "channel")), moved(in_place, ("joint",))
    classes = dataset.num_classes
    aii_s, aii_i = (arrangement.by_seed(decided.agreement[:, i], decided.clean, classes) for i in range(2))
    accuracy = (decided.clean == sample.labels).mean(1)
    left = (kept.shuffled == sample.labels).mean((1, 2, 3))
    contributions = measure.concentrated(
        model,
        fitted[name][0].variables,
        sample.images,
        site=config.sites[-1],
        budget=config.budget,
        margin_error=config.concentration.margin_error,
        key=measure.key_for(config.seed, f"fills of {name}"),
        network=name,
    )
    values = {
        AII_S: aii_s,
        DIFFERENCE: aii_s - aii_i,
        RETAINED: arrangement.ratio(left - 1 / classes, accuracy - 1 / classes),
        GINI: np.nanmean(contributions.gini, 1),
    }
    return Learnt(
        fitted,
        {metric: each.tolist() for metric, each in values.items()},
        fitted[name][1].accuracy.estimate,
    )


def _within(progress: Callable[[float], None], start: float, done: float) -> None:
    progress(start + done / 2)


def _how(config: StudyConfig) -> str:
    trials = config.calibration.null_trials
    return (
        f"Measured on held-out images for each of {config.calibration_seeds} networks of the study's own "
        "architecture on each synthetic set, by itself; retained accuracy needs as many more, trained "
        f"with the points of {config.primary_site} shuffled. AUROC is the chance that a bag network's value "
        "exceeds a relation network's. Planted networks are built by hand; for retained accuracy their own "
        "decisions are the labels, some redrawn. Planted nulls are tables drawn "
        f"from populations on a threshold or between two, {trials} studies each, through bootstrap and rule."
    )
