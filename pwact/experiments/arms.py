"""Kinds of networks that an experiment compares, trained once and kept by what they are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pwact.errors import PwactError
from pwact.experiment_record import TrainedArm
from pwact.experiments.experiment import Scale
from pwact.experiments.identity import Arm, configuration, place_of
from pwact.train.evaluate import evaluate
from pwact.train.loop import train
from pwact.train.trained import Trained

NETWORKS = "networks"


@dataclasses.dataclass(eq=False)
class Setting:
    """How much a run measures, and where its networks are kept.

    Args:
        scale: `small`, or `full` where the experiment has it.
        seeds: of every arm.
        folder: of the run; networks are not kept if None.
        epochs: no arm is trained for more, so that a test need not wait; None for what the recipes say.
    """

    scale: Scale
    seeds: tuple[int, ...]
    folder: Path | None = None
    epochs: int | None = None
    trained: list[TrainedArm] = dataclasses.field(default_factory=list)

    def train(
        self,
        arms: Sequence[Arm],
        progress: Callable[[str, float], None],
        *,
        start: float = 0.0,
        end: float = 0.9,
    ) -> dict[str, Trained]:
        """Train all arms on all seeds; what an earlier run of the same folder has finished is read.

        Args:
            arms: of different names.
            progress: as `run` was given it.
            start, end: shares of the whole between which the training lies.

        Returns:
            The networks by the arm's name; each is at the same place as its seed in `seeds`.

        Raises:
            PwactError: two arms of one name, and whatever `pwact.train.train` refuses.
        """
        names = [arm.name for arm in arms]
        if len(set(names)) < len(names) or {each.name for each in self.trained} & set(names):
            raise PwactError("arms of different names", f"{sorted(names)}", "rename one")
        arms = [self._cut(arm) for arm in arms]
        weights = [arm.recipe.steps(len(arm.dataset)) for arm in arms]
        networks = {}
        for place, arm in enumerate(arms):

            def said(done: int, total: int, sentence: str, place: int = place) -> None:
                share = (sum(weights[:place]) + weights[place] * done / max(total, 1)) / sum(weights)
                stage = f"{arms[place].name} ({place + 1} of {len(arms)})"
                progress(stage, start + (end - start) * share)

            said(0, 1, "")
            networks[arm.name] = self._one(arm, said)
        progress("trained", end)
        return networks

    def drop_others(self) -> None:
        """Take away networks in the folder that no arm of this run is: those of other code or settings."""
        if self.folder is None or not (self.folder / NETWORKS).is_dir():
            return
        mine = {place_of(arm.name, arm.configuration) for arm in self.trained}
        for path in (self.folder / NETWORKS).iterdir():
            if path.name not in mine:
                shutil.rmtree(path, ignore_errors=True)

    def _cut(self, arm: Arm) -> Arm:
        if self.epochs is None or arm.recipe.epochs <= self.epochs:
            return arm
        return arm._replace(recipe=dataclasses.replace(arm.recipe, epochs=self.epochs))

    def _one(self, arm: Arm, said: Callable[[int, int, str], None]) -> Trained:
        words = configuration(arm, self.seeds)
        place = None
        if self.folder is not None:
            place = self.folder / NETWORKS / place_of(arm.name, words)
            place.parent.mkdir(parents=True, exist_ok=True)
        networks = train(
            arm.config,
            arm.dataset,
            seeds=self.seeds,
            recipe=arm.recipe,
            test=arm.test,
            preprocess=arm.preprocess,
            interventions=arm.interventions,
            folder=place,
            resume=place is not None,
            progress=said,
            **arm.options,
        )
        self.trained.append(
            TrainedArm(arm.name, len(networks), networks.parameters, float(networks.seconds), words)
        )
        return networks


def accuracies(arms: Sequence[Arm], networks: Mapping[str, Trained]) -> dict[str, Float[np.ndarray, " seed"]]:
    """The held-out accuracy of every seed, by arm; in shares. Arms without held-out images have none."""
    return {
        arm.name: evaluate(networks[arm.name], arm.test).accuracy.values
        for arm in arms
        if arm.test is not None
    }
