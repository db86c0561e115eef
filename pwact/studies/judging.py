"""From the measurements of all kinds of networks to the evidence of P1 and P4."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pwact.records import Control
from pwact.studies import arrangement, concentration, inference
from pwact.studies.arrangement import AII_S, DIFFERENCE, Shuffled
from pwact.studies.concentration import FILLS, GINI, ORDERS, Concentration
from pwact.studies.config import StudyConfig
from pwact.studies.measure import Sample
from pwact.studies.networks import FLATTEN, MOVED, SHUFFLED, SMALL, TRAINED, UNTRAINED
from pwact.studies.verdict import Evidence, Measured, difference

TRAINED_ON_TRAIN = "trained, on its training images"


class Moved(NamedTuple):
    """P1's decisions of one kind of networks at one site, and under which modes they were made."""

    modes: tuple[str, ...]
    decided: Shuffled

    def agreement(self, mode: str) -> np.ndarray:
        """[seed, image] under one mode."""
        return self.decided.agreement[:, self.modes.index(mode)]


class Measurements(NamedTuple):
    """All that was measured.

    Args:
        classes: of the dataset.
        samples: the images by split.
        split: which of them each kind of network saw.
        moved: network -> site -> P1's decisions.
        concentrated: network -> P4's contributions.
    """

    classes: int
    samples: dict[str, Sample]
    split: dict[str, str]
    moved: dict[str, dict[str, Moved]]
    concentrated: dict[str, Concentration]

    def weights(self, split: str, config: StudyConfig) -> inference.Resamples:
        """The bootstrap's weights for networks measured on a split; seeds are paired across splits."""
        return inference.resample(
            config.seeds,
            len(self.samples[split].place),
            draws=config.draws,
            seed=config.seed,
            image_set=sorted(self.samples).index(split),
        )


def arrangement_evidence(found: Measurements, config: StudyConfig) -> Evidence:
    """P1 of the trained networks, with its controls."""
    site = config.primary_site
    weights = {split: found.weights(split, config) for split in found.samples}

    def index(network: str, mode: str, at: str = site) -> Measured:
        each = found.moved[network][at]
        return arrangement.aii(
            each.agreement(mode), each.decided.clean, found.classes, weights[found.split[network]]
        )

    labels = found.samples["test"].labels
    clean = found.moved[TRAINED][site].decided.clean == labels
    in_place = (found.moved[MOVED][site].decided.shuffled[:, 0] == labels).mean(1)
    kept = arrangement.retained(clean.astype(float), in_place, found.classes, weights["test"])

    def control(metric: str, network: str, measured: Measured) -> Control:
        return Control(metric, network, measured.interval(config.level))

    controls = []
    for network in (SHUFFLED, UNTRAINED, SMALL, FLATTEN):
        joint, channel = index(network, "joint"), index(network, "channel")
        controls += [
            control(AII_S, network, joint),
            control("AII_i", network, channel),
            control(DIFFERENCE, network, difference(joint, channel)),
        ]
    controls.append(control("AII_i", TRAINED, index(TRAINED, "channel")))
    controls.append(control("AII_i, channels in a random basis", TRAINED, index(TRAINED, "rotated")))
    for network in (TRAINED, FLATTEN):
        for other in found.moved[network]:
            if other != site:
                controls.append(control(f"{AII_S} at {other}", network, index(network, "joint", other)))
    return arrangement.evidence(
        index(TRAINED, "joint"),
        index(TRAINED, "channel"),
        kept,
        config.arrangement,
        level=config.level,
        controls=controls,
    )


def concentration_evidence(found: Measurements, config: StudyConfig) -> Evidence:
    """P4 of the trained networks, with its controls."""
    weights = {split: found.weights(split, config) for split in found.samples}

    def metric(name: str, network: str) -> Measured:
        table = np.asarray(getattr(found.concentrated[network], name), float)
        return concentration.mean(table, weights[found.split[network]])

    gini = {network: metric("gini", network) for network in found.concentrated}

    def control(metric: str, network: str, measured: Measured) -> Control:
        return Control(metric, network, measured.interval(config.level))

    controls = [control(GINI, network, gini[network]) for network in gini if network != TRAINED]
    controls.append(
        control(
            "Gini, trained - shuffled labels",
            "trained on held-out, shuffled labels on training images",
            difference(gini[TRAINED], gini[SHUFFLED]),
        )
    )
    for name, word in (("hoyer", "Hoyer"), ("k90", "k90/P")):
        controls += [control(word, n, metric(name, n)) for n in (TRAINED, SHUFFLED, UNTRAINED)]
    for fill, filled in enumerate(FILLS):
        for order, by in enumerate(ORDERS):
            kappa = concentration.kappa(found.concentrated[TRAINED], order, fill, weights["test"])
            words = f"kappa, {config.budget:.0%} of points kept by {by}, fill: {filled}"
            controls.append(control(words, TRAINED, kappa))
    return concentration.evidence(
        gini[TRAINED],
        difference(gini[TRAINED], gini[UNTRAINED]),
        difference(gini[TRAINED_ON_TRAIN], gini[SHUFFLED]),
        config.concentration,
        level=config.level,
        controls=controls,
    )
