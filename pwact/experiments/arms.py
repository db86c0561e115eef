"""Kinds of networks that an experiment compares, trained once and kept by what they are."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pwact.core.caching import described
from pwact.core.provenance import machine
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.experiment_record import TrainedArm
from pwact.experiments.experiment import Scale
from pwact.models.architecture import to_dict
from pwact.train.loop import train
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention

NETWORKS = "networks"
APART = ("cli", "experiments", "report", "stats", "studies")
"""Rooms that no training depends on."""


class Arm(NamedTuple):
    """One kind of network: what it is, what it is trained on, and how. All arms have the same seeds.

    Args:
        name: in tables, unlike the others of the experiment.
        config: the architecture.
        recipe: how it is trained.
        dataset: training images.
        test: images that it is evaluated on after every epoch.
        preprocess: from stored pixels to what the network sees; standardises by `dataset` if None.
        interventions: edits that are in place in training.
        options: further arguments of `pwact.train.train`, e.g. `{"snapshots": (0, 10)}`.
    """

    name: str
    config: Any
    recipe: Recipe
    dataset: Dataset
    test: Dataset | None = None
    preprocess: Preprocess | None = None
    interventions: tuple[Intervention, ...] = ()
    options: Mapping[str, Any] = {}


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
                progress(f"{arms[place].name}: {sentence}", start + (end - start) * share)

            said(0, 1, f"{len(self.seeds)} networks")
            networks[arm.name] = self._one(arm, said)
        progress("trained", end)
        return networks

    def drop_others(self) -> None:
        """Take away networks in the folder that no arm of this run is: those of other code or settings."""
        if self.folder is None or not (self.folder / NETWORKS).is_dir():
            return
        mine = {_place(arm.name, arm.configuration) for arm in self.trained}
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
            place = self.folder / NETWORKS / _place(arm.name, words)
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


def configuration(arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    """An arm in words: everything that its networks depend on but the code."""
    return {
        "architecture": json.loads(json.dumps(to_dict(arm.config))),
        "recipe": json.loads(json.dumps(arm.recipe.to_dict())),
        "data": f"{arm.dataset.name}, {len(arm.dataset)} images, {arm.dataset.fingerprint[:12]}",
        "test": "none"
        if arm.test is None
        else f"{arm.test.name}, {len(arm.test)} images, {arm.test.fingerprint[:12]}",
        "preprocess": "standardised" if arm.preprocess is None else arm.preprocess.describe(),
        "interventions": [f"{described(each.fn)} at {each.site}" for each in arm.interventions],
        "options": {name: described(value) for name, value in arm.options.items()},
        "seeds": list(seeds),
        "own code": _sources(arm.config),
    }


def _place(name: str, words: Mapping[str, Any]) -> str:
    return f"{slug(name)}-{_digest(words)}"


def _digest(words: Mapping[str, Any]) -> str:
    """Names an arm's folder: another configuration, other code or another machine kind is another arm."""
    here = {name: value for name, value in machine().items() if name != "created"}
    content = json.dumps([words, library_hash(), here], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _sources(config: Any) -> list[str]:
    """Hashes of the files of an architecture of one's own; `library_hash` speaks of the others."""
    own = [type(config), *(value for value in vars(config).values() if hasattr(value, "__module__"))]
    files = {inspect.getfile(each) for each in own if _apart(each.__module__)}
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] for file in sorted(files)]


def _apart(module: str) -> bool:
    room = module.split(".")
    return room[0] != "pwact" or room[1] in APART


@functools.cache
def library_hash() -> str:
    """The sha256 of pwact's own source, but for the rooms that no training depends on.

    Returns:
        64 hexadecimal digits.
    """
    home = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        inside = path.relative_to(home)
        if inside.parts[0] not in APART:
            digest.update(f"{inside.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def slug(name: str) -> str:
    """A name as part of a file's name.

    Example:
        >>> slug("norm loss, λ = 0.1"), slug("λ")
        ('norm-loss-0-1', 'x')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "x"
