"""A whole study: calibrate, train, measure, judge, write."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from pwact.core.provenance import machine, variables_hash
from pwact.core.results import save_results
from pwact.data import load, split
from pwact.data.dataset import Dataset
from pwact.errors import PwactError
from pwact.models.architecture import to_dict
from pwact.records import StudyRecord, write_record
from pwact.studies import arrangement, arrays, measure, networks, pictures, synthetic, verdict, words
from pwact.studies.config import StudyConfig, preset
from pwact.studies.folder import check_free, check_room, whole_folder
from pwact.studies.judging import (
    TRAINED_ON_TRAIN,
    Measurements,
    Moved,
    arrangement_evidence,
    concentration_evidence,
)
from pwact.studies.networks import FLATTEN, MOVED, TRAINED, Kind
from pwact.studies.progress import Progress
from pwact.train.checkpoint import save_checkpoint
from pwact.train.trained import Trained

#: Bytes that must be free before anything is trained: three times what the quick preset leaves.
ROOM = 32 << 20
STAGES = {
    "bag": "calibration: networks on bag",
    "relation": "calibration: networks on relation",
    "planted": "calibration: planted networks and nulls",
}


def run_study(
    config: StudyConfig | str,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> StudyRecord:
    """Run a study and leave its record, arrays and networks in a folder.

    Calibration comes first; no verdict is computed before it is known whether the metrics may give one.

    Args:
        config: a configuration, or a preset's name: `smoke`, `quick` or `full`. Another dataset or
            number of seeds is `dataclasses.replace(preset("quick"), seeds=12)`.
        folder: where `study.json`, `arrays.nc` and `networks/` go. It appears when all is complete.
        overwrite: replace a folder that is there.
        progress: called with (what is being done, share of the whole that is done).

    Returns:
        The record that was written.

    Raises:
        PwactError: an unknown preset or dataset, a folder that exists or cannot be
            written.
        KeyboardInterrupt: on Ctrl-C; nothing is left behind, and its message says so.
    """
    given = preset(config) if isinstance(config, str) else config
    folder = Path(folder)
    check_free(folder, overwrite=overwrite)
    whole = load(given.dataset)
    if whole.num_classes < 2:
        raise PwactError(
            "two classes or more", f"{whole.num_classes} in {whole.name!r}", "use another dataset"
        )
    try:
        with whole_folder(folder, overwrite=overwrite) as partial:
            check_room(partial, ROOM)
            return _Study(given, whole, partial, progress).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Nothing was written to {folder}.") from None


class _Study:
    """One run, and what its steps share."""

    def __init__(
        self,
        config: StudyConfig,
        whole: Dataset,
        folder: Path,
        report: Callable[[str, float], None] | None,
    ):
        self.config = config
        self.whole = whole
        self.folder = folder
        self.splits: dict[str, Dataset] = dict(split(whole, seed=config.seed))
        self.kinds = networks.kinds(config, whole.image_shape, whole.num_classes)
        self.started = time.perf_counter()
        self.progress = Progress(self._weights(), report)

    def run(self) -> StudyRecord:
        calibrated, on_synthetic = synthetic.calibrate(
            self.config, lambda stage, share: self.progress(STAGES[stage], share)
        )
        self.progress(STAGES["planted"], 1.0, words.calibrated(calibrated, self.config))
        fitted = {kind.name: self._fit(kind) for kind in self.kinds}
        found = self._measure({name: trained for name, (trained, _) in fitted.items()})
        self.progress("verdicts")
        verdicts = verdict.judge(
            [arrangement_evidence(found, self.config), concentration_evidence(found, self.config)],
            admissible=[
                all(each.admissible for each in calibrated if each.prediction == prediction)
                for prediction in ("P1", "P4")
            ],
            level=self.config.level,
            minimum_seeds=self.config.minimum_seeds,
        )
        self.progress("maps and strongest images")
        all_fitted = fitted | on_synthetic
        everything = {name: trained for name, (trained, _) in all_fitted.items()}
        origin = self._origin(everything)
        tree = self._arrays(everything, found, origin)
        self.progress("writing")
        for name, trained in everything.items():
            save_checkpoint(self.folder / "networks" / name.replace(",", "").replace(" ", "-"), trained)
        save_results(tree, self.folder / "arrays.nc")
        lines = [line for _, line in all_fitted.values()]
        seconds = time.perf_counter() - self.started
        record = StudyRecord(
            title=words.title(self.whole.name),
            question=words.QUESTION,
            preset=self.config.preset,
            dataset={
                "name": self.whole.name,
                "images": len(self.whole),
                "image_shape": list(self.whole.image_shape),
                "classes": self.whole.num_classes,
                "fingerprint": self.whole.fingerprint,
            },
            configuration=self._configuration(),
            summary=words.summary(verdicts, calibrated, lines, self.config, self.whole.name, seconds),
            networks=lines,
            calibration=calibrated,
            verdicts=verdicts,
            limits=words.limits(self.config),
            provenance={**origin, "seconds": round(seconds, 1)},
        )
        write_record(record, self.folder / "study.json")
        return record

    def _fit(self, kind: Kind) -> tuple[Trained, Any]:
        stage = f"training: {kind.name}"
        return networks.fit(
            kind,
            self.config,
            self.splits,
            seeds=self.config.seeds,
            progress=lambda share: self.progress(stage, share),
        )

    def _measure(self, fitted: dict[str, Trained]) -> Measurements:
        config = self.config
        preprocess = fitted[TRAINED].preprocess
        samples = {
            name: measure.sample(part, preprocess, config.images, seed=config.seed)
            for name, part in self.splits.items()
        }
        found = Measurements(
            self.whole.num_classes,
            samples,
            {kind.name: kind.split for kind in self.kinds} | {TRAINED_ON_TRAIN: "train"},
            moved={},
            concentrated={},
        )
        for kind in self.kinds:
            self.progress(f"measuring: {kind.name}")
            found.moved[kind.name] = {
                site: self._moved(kind, fitted[kind.name], site, found) for site in self._sites(kind)
            }
            if kind.model.head == "gap" and kind.name != MOVED:
                found.concentrated[kind.name] = self._concentrated(kind, fitted, kind.split, found)
        trained = self.kinds[0]
        found.concentrated[TRAINED_ON_TRAIN] = self._concentrated(trained, fitted, "train", found)
        return found

    def _sites(self, kind: Kind) -> tuple[str, ...]:
        """Where points change places: the primary layer; for the judged network and its twin every layer."""
        return self.config.sites if kind.name in (TRAINED, FLATTEN) else (self.config.primary_site,)

    def _moved(self, kind: Kind, trained: Trained, site: str, found: Measurements) -> Moved:
        primary = site == self.config.primary_site
        modes = arrangement.MODES if primary and kind.name != MOVED else ("joint",)
        decided = measure.moved(
            kind.model,
            trained.variables,
            found.samples[kind.split].images,
            site=site,
            modes=modes,
            permutations=self.config.permutations,
            key=measure.key_for(self.config.seed, f"points of {kind.split}"),
        )
        return Moved(modes, decided)

    def _concentrated(self, kind: Kind, fitted: dict[str, Trained], split: str, found: Measurements) -> Any:
        return measure.concentrated(
            kind.model,
            fitted[kind.name].variables,
            found.samples[split].images,
            site=self.config.sites[-1],
            budget=self.config.budget,
            margin_error=self.config.concentration.margin_error,
            key=measure.key_for(self.config.seed, f"fills of {split}"),
            network=kind.name,
        )

    def _arrays(self, fitted: dict[str, Trained], found: Measurements, origin: dict[str, Any]) -> xr.DataTree:
        trained = fitted[TRAINED]
        shown = pictures.point_pictures(
            measure.model_probe(trained.config),
            trained.at(0),
            self.splits["test"],
            self.whole,
            sites=list(dict.fromkeys((self.config.primary_site, self.config.sites[-1]))),
            ranks=self.config.ranks,
            preprocess=trained.preprocess,
        )
        about = {"title": words.title(self.whole.name), "preset": self.config.preset, **origin}
        nodes = {
            "/": xr.Dataset(attrs=about),
            "/curves": arrays.curves(fitted),
            "/p1": arrays.moved(found, self.config.primary_site, trained.seeds),
            "/p4": arrays.concentrated(found, trained.seeds),
        }
        return xr.DataTree.from_dict(nodes | shown)

    def _configuration(self) -> dict[str, Any]:
        models = {kind.name: to_dict(kind.model) for kind in self.kinds}
        return {**self.config.described(), "models": models}

    def _origin(self, fitted: dict[str, Trained]) -> dict[str, Any]:
        """What made the numbers, for both files; `run_sha256` says that they belong together."""
        trained = fitted[TRAINED]
        known = {
            "variables_sha256": variables_hash(trained.variables),
            "dataset_sha256": self.whole.fingerprint,
            **{f"{name}_index_sha256": part.index_hash for name, part in self.splits.items()},
            "preprocess": json.dumps(trained.preprocess.describe(), sort_keys=True),
            "seeds": list(trained.seeds),
        }
        made = {
            **known,
            "networks": {name: variables_hash(each.variables) for name, each in fitted.items()},
            "configuration": self._configuration(),
            "versions": machine()["versions"],
        }
        text = json.dumps(made, sort_keys=True)
        return {
            "run_sha256": hashlib.sha256(text.encode()).hexdigest(),
            **known,
            **machine(),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }

    def _weights(self) -> dict[str, float]:
        """Rough costs, for the time to go. The unit is an epoch of ten networks on 4,000 images."""
        config = self.config
        again = len(self.splits["train"]) / 4000 * config.seeds / 10
        synthetic_epochs = config.synthetic.epochs * config.synthetic_images / 5000
        synthetic_epochs *= config.calibration_seeds / 10
        weights = {STAGES[name]: 2 * synthetic_epochs + 1.5 for name in synthetic.SETS}
        weights[STAGES["planted"]] = 3 * config.calibration.null_trials / 400 + 1.0
        for kind in self.kinds:
            epochs = 0 if kind.treatment == "untrained" else kind.recipe.epochs
            weights[f"training: {kind.name}"] = epochs * again + (0.5 if epochs else 0.1)
        for kind in self.kinds:
            weights[f"measuring: {kind.name}"] = (0.3 + again) * len(self._sites(kind))
        return {**weights, "verdicts": 0.3, "maps and strongest images": 0.5, "writing": 0.3}
