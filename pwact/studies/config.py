"""Everything that decides a verdict, fixed before anything runs and written into the record."""

from __future__ import annotations

import dataclasses
from typing import Any

from pwact.core.registry import nearest
from pwact.errors import PwactError
from pwact.models import ModelConfig, quick, small_receptive_field
from pwact.train.recipe import MEMORISE, QUICK, Recipe


@dataclasses.dataclass(frozen=True)
class ArrangementRule:
    """Thresholds of P1, whose criteria are in `studies.arrangement`."""

    retained_support: float = 0.95
    aii_support: float = 0.5
    difference_support: float = 0.1
    retained_refute: float = 0.85


@dataclasses.dataclass(frozen=True)
class ConcentrationRule:
    """Thresholds of P4, whose criteria are in `studies.concentration`.

    `margin_error` is the largest error of "contributions and biases add up to the margin", as a share of the
    sizes that were added up; a network beyond it is refused. Float32 sums of a few thousand terms in another
    order differ by 1e-6 of them, products in an accelerator's TF32 by up to 5e-4; a head or map that did not
    make the logits errs by a tenth or more.
    """

    gini_support: float = 0.6
    difference_support: float = 0.0
    difference_refute: float = 0.0
    margin_error: float = 1e-3


@dataclasses.dataclass(frozen=True)
class CalibrationRule:
    """What a metric must pass before it may decide anything.

    Args:
        auroc: least AUROC of `bag` against `relation` networks.
        seeds: least number of networks of each kind.
        accuracy: least held-out accuracy of those networks; below it they did not learn their task.
        tolerance: largest error of a planted network's answer.
        false_verdicts: largest share of supported or refuted verdicts on planted nulls.
        planted_images, planted_seeds: images that planted networks see, and networks of each kind.
        planted_noise: share of the images whose label is redrawn at random, so that a planted network's
            own accuracy is not 1.
        null_trials: studies simulated for each null, each of `seeds` seeds, `null_images` images and
            `null_draws` bootstrap draws.
        null_classes, null_permutations: as in a study, of the simulated tables.
        null_spread: how far the simulated networks differ: each one's chances p move by up to this
            times p(1 - p).
        null_accuracy: of the simulated networks that see no shuffle.
        null_aii_i, null_gini: true values of what does not lie on a threshold: AII_i, and the Gini index of
            the networks that are compared with.
    """

    auroc: float = 0.95
    seeds: int = 10
    accuracy: float = 0.95
    tolerance: float = 0.05
    false_verdicts: float = 0.05
    planted_images: int = 512
    planted_seeds: int = 3
    planted_noise: float = 0.1
    null_trials: int = 400
    null_images: int = 100
    null_draws: int = 2000
    null_classes: int = 10
    null_permutations: int = 16
    null_spread: float = 0.2
    null_accuracy: float = 0.96
    null_aii_i: float = 0.1
    null_gini: float = 0.4


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """A study, completely: what is trained, what is measured, and the rules of its verdicts.

    Args:
        preset: its name.
        dataset: what `pwact.data.load` takes.
        seeds: networks of each kind; verdicts need `minimum_seeds`.
        calibration_seeds: networks on each synthetic set.
        widths: channels of the four blocks.
        recipe: training of all networks but those of shuffled labels.
        memorise: training of those.
        synthetic: training on the synthetic sets, of `synthetic_images` images each.
        images: measured for each network; all of a split where there are fewer.
        depth: the primary layer is the block whose relative depth is nearest.
        budget: share of points that is kept, where points are kept.
        permutations: of each image in P1.
        ranks: images shown for each channel.
        draws: of the bootstrap.
        level: of all intervals.
        seed: of everything random in measuring (training has its own seeds).

    Raises:
        PwactError: fewer than two seeds, or a number out of range.

    Example:
        >>> preset("quick").seeds, preset("quick").arrangement.aii_support
        (10, 0.5)
    """

    preset: str
    dataset: str
    seeds: int = 10
    calibration_seeds: int = 10
    widths: tuple[int, ...] = (16, 32, 32, 32)
    recipe: Recipe = QUICK
    memorise: Recipe = MEMORISE
    synthetic: Recipe = QUICK
    synthetic_images: int = 3000
    images: int = 512
    depth: float = 0.5
    budget: float = 0.1
    permutations: int = 16
    ranks: int = 9
    draws: int = 10_000
    level: float = 0.95
    minimum_seeds: int = 10
    seed: int = 0
    arrangement: ArrangementRule = ArrangementRule()
    concentration: ConcentrationRule = ConcentrationRule()
    calibration: CalibrationRule = CalibrationRule()

    def __post_init__(self) -> None:
        for name, least in (
            ("seeds", 2),
            ("calibration_seeds", 2),
            ("images", 8),
            ("permutations", 1),
            ("ranks", 1),
            ("draws", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise PwactError(f"{name} of {least} or more", f"{name}={value!r}", "ask for more")

    def model(self, image_shape: tuple[int, int, int], num_classes: int, **changes: Any) -> ModelConfig:
        """The study's network for images of this shape: `pwact.models.quick` of the study's widths.

        Args:
            image_shape: (row, column, channel).
            num_classes: of the dataset.
            changes: fields that differ from the study's main network.

        Returns:
            The configuration.
        """
        return dataclasses.replace(quick(image_shape, num_classes), widths=self.widths, **changes)

    def small_receptive_field(self, image_shape: tuple[int, int, int], num_classes: int) -> ModelConfig:
        """Its counterpart whose every point sees one patch, as wide as the study's last block."""
        patches = small_receptive_field(image_shape, num_classes)
        return dataclasses.replace(patches, widths=(self.widths[-1],) * len(self.widths))

    @property
    def primary_block(self) -> int:
        """The block whose relative depth, 1/L to 1, is nearest to `depth`; of two, the earlier."""
        blocks = len(self.widths)
        return min(range(blocks), key=lambda place: round(abs((place + 1) / blocks - self.depth), 9))

    @property
    def primary_site(self) -> str:
        """The activation of that block, after its ReLU and before any pooling."""
        return f"blocks.{self.primary_block}.relu"

    @property
    def sites(self) -> tuple[str, ...]:
        """The activations of all blocks, from the input to the head."""
        return tuple(f"blocks.{place}.relu" for place in range(len(self.widths)))

    def described(self) -> dict[str, Any]:
        """Every field and what follows from them, as plain data for the record."""
        fields = dataclasses.asdict(self)
        fields |= {name: getattr(self, name).to_dict() for name in ("recipe", "memorise", "synthetic")}
        return {**fields, "widths": list(self.widths), "primary_site": self.primary_site}


PRESETS = {
    "smoke": StudyConfig(
        preset="smoke",
        dataset="digits",
        seeds=2,
        calibration_seeds=2,
        widths=(8, 16, 16, 16),
        memorise=QUICK,
        synthetic_images=600,
        images=64,
        draws=1000,
        calibration=CalibrationRule(null_trials=20),
    ),
    "quick": StudyConfig(preset="quick", dataset="mnist5k"),
    "full": StudyConfig(
        preset="full",
        dataset="mnist5k",
        seeds=20,
        calibration_seeds=20,
        widths=(32, 64, 64, 64),
        recipe=dataclasses.replace(QUICK, epochs=20),
        memorise=dataclasses.replace(MEMORISE, epochs=60),
        synthetic=dataclasses.replace(QUICK, epochs=20),
        images=1000,
        permutations=32,
        calibration=CalibrationRule(null_trials=2000),
    ),
}


def preset(name: str) -> StudyConfig:
    """A study by name.

    Args:
        name: `smoke` (a minute, to see that everything runs: too few networks, too briefly trained, for any
            verdict), `quick` (minutes) or `full` (hours on a CPU).

    Returns:
        The configuration.

    Raises:
        PwactError: no preset of that name.

    Example:
        >>> preset("quick").dataset
        'mnist5k'
    """
    if name not in PRESETS:
        raise PwactError(f"one of: {', '.join(PRESETS)}", f"'{name}'", nearest(name, PRESETS))
    return PRESETS[name]
