"""Calibrating both metrics on networks that learnt `bag` and `relation`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from pwact.data import split
from pwact.data.sources import bag, relation
from pwact.records import Calibration, Network
from pwact.studies import arrangement, calibration, measure, nulls
from pwact.studies.config import StudyConfig
from pwact.studies.networks import Kind, fit
from pwact.train.trained import Trained

SETS = {"bag": bag, "relation": relation}
WORDS = {
    "bag": "calibration: the class is which token is present",
    "relation": "calibration: every class has the same tokens, the class is how they lie",
}


def calibrate(
    config: StudyConfig, progress: Callable[[str, float], None]
) -> tuple[list[Calibration], dict[str, tuple[Trained, Network]]]:
    """Train on the synthetic sets, measure both metrics, and try them on what was planted.

    Args:
        config: the study.
        progress: called with (`bag`, `relation` or `planted`, share done).

    Returns:
        The calibrations of P1's and P4's metrics, and the networks with their lines in the record.
    """
    fitted: dict[str, tuple[Trained, Network]] = {}
    aii: dict[str, list[float]] = {}
    gini: dict[str, list[float]] = {}
    accuracy = []
    for name, source in SETS.items():
        dataset = source(size=config.synthetic_images, seed=config.seed)
        splits = split(dataset, seed=config.seed)
        model = config.model(dataset.image_shape, dataset.num_classes)
        kind = Kind(name, WORDS[name], model, config.synthetic)
        trained, line = fit(
            kind,
            config,
            splits,
            seeds=config.calibration_seeds,
            progress=functools.partial(progress, name),
        )
        fitted[name] = trained, line
        accuracy.append(calibration.accuracy_check(name, line.accuracy.estimate, config.calibration))
        sample = measure.sample(splits["test"], trained.preprocess, config.images, seed=config.seed)
        moved = measure.moved(
            model,
            trained.variables,
            sample.images,
            site=config.primary_site,
            modes=("joint",),
            permutations=config.permutations,
            key=measure.key_for(config.seed, f"points of {name}"),
        )
        aii[name] = arrangement.by_seed(moved.agreement[:, 0], moved.clean, dataset.num_classes).tolist()
        contributions = measure.concentrated(
            model,
            trained.variables,
            sample.images,
            site=config.sites[-1],
            budget=config.budget,
            key=measure.key_for(config.seed, f"fills of {name}"),
            network=name,
        )
        gini[name] = np.nanmean(contributions.gini, 1).tolist()
    progress("planted", 0.0)
    rule, level = config.calibration, config.level
    of_arrangement = [
        *accuracy,
        *calibration.arrangement_planted(rule, config.permutations),
        *calibration.null_checks(
            nulls.arrangement_nulls(config.arrangement, level=level), rule, level=level, seed=config.seed
        ),
    ]
    progress("planted", 0.7)
    of_concentration = [
        *accuracy,
        *calibration.concentration_planted(rule),
        *calibration.null_checks(
            nulls.concentration_nulls(config.concentration, level=level), rule, level=level, seed=config.seed
        ),
    ]
    how = (
        f"{{metric}} of each of {config.calibration_seeds} networks of the study's own architecture on "
        f"each synthetic set, on held-out images{{where}}. AUROC is the chance that a bag network's "
        "value exceeds a relation network's. Planted networks are built by hand. Planted nulls are "
        f"tables drawn from populations on a threshold or between two, {rule.null_trials} studies each, "
        "through bootstrap and rule."
    )
    return [
        calibration.calibrate(
            "AII_s",
            "P1",
            aii["bag"],
            aii["relation"],
            of_arrangement,
            rule,
            how.format(metric="AII_s", where=f", at {config.primary_site}"),
        ),
        calibration.calibrate(
            "Gini",
            "P4",
            gini["bag"],
            gini["relation"],
            of_concentration,
            rule,
            how.format(metric="Mean Gini index of the positive contributions", where=", at the last map"),
        ),
    ], fitted
