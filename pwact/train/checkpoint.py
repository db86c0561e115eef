"""Trained networks on disk: readable JSON beside arrays that orbax writes. No pickle.

A folder holds `checkpoint.json` and the folder of arrays that it names. An update writes new arrays first
and then replaces the JSON in one step, so the folder is whole at every moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from flax import nnx

from pwact import edits
from pwact._version import __version__
from pwact.core.provenance import machine
from pwact.core.registry import resolve
from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.architecture import Architecture, from_dict, to_dict
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Member

RECORD = "checkpoint.json"
SCHEMA = 2
FIELDS = {
    *("made", "config", "recipe", "treatment", "interventions", "seeds", "streams", "numbers", "preprocess"),
    *("data", "step", "steps", "resident", "devices", "snapshot", "diverged", "seconds", "splits", "loss"),
    *("accuracy", "arrays", "files"),
}

SPARE = 1 << 17
"""Bytes that a checkpoint takes besides its arrays, generously."""


def save_checkpoint(folder: str | os.PathLike[str], trained: Trained, *, overwrite: bool = False) -> Path:
    """Save trained networks.

    Args:
        folder: a new folder.
        trained: what `train` returned.
        overwrite: replace the checkpoint that `folder` holds.

    Returns:
        The folder.

    Raises:
        PwactError: the folder exists, holds something else than a checkpoint, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise PwactError(
            "a folder that does not exist yet", f"{str(folder)!r}", "pick another, or pass overwrite=True"
        )
    steps = trained.curves.sizes["epoch"] * trained.recipe.steps_per_epoch(trained.labels.shape[1])
    write(folder, Saved(trained, steps, steps))
    return folder


def load_checkpoint(
    folder: str | os.PathLike[str],
    *,
    config: Architecture | None = None,
    recipe: Recipe | None = None,
    interventions: Sequence[Intervention] = (),
) -> Trained:
    """Load what `save_checkpoint`, a finished `train(folder=...)`, or one of its snapshots has saved.

    Args:
        folder: the checkpoint.
        config: if given, the configuration that it must be of; needed where it holds a method of one's own,
            which a file cannot.
        recipe: likewise.
        interventions: what was in place in training; needed where there was one that is not of `pwact.edits`.

    Returns:
        The networks, equal bit by bit.

    Raises:
        PwactError: no checkpoint; unreadable, truncated, or of another version; of another configuration or
            recipe; of an unfinished training; or trained with other interventions than those given.
    """
    folder = Path(folder)
    found = read(folder, config, recipe, tuple(interventions))
    trained, total = found.networks, found.steps
    if config is not None and config != trained.config:
        raise PwactError(
            "a checkpoint of the configuration given",
            f"another one in {str(folder)!r}: {difference(to_dict(config), to_dict(trained.config))}",
            "load it without config, or train this configuration",
        )
    if found.step < total and not found.snapshot:
        raise PwactError(
            "a finished training",
            f"{found.step} of {total} steps in {str(folder)!r}",
            "finish it: train(..., folder=folder, resume=True)",
        )
    return trained


class Saved(NamedTuple):
    """What a checkpoint holds.

    Args:
        networks: as far as they were trained.
        step, steps: done, and in all.
        resident: whether all images stayed on the device, which decides the program that goes on.
        devices: that each step's images were split over.
        snapshot: whether it was kept on the way.
        carry: leaves of what an unfinished training goes on from.
        scores: of the steps of an unfinished epoch, [network, step] by name.
        made: versions, device and command, as a file has them.
    """

    networks: Trained
    step: int
    steps: int
    resident: bool = True
    devices: int = 1
    snapshot: bool = False
    carry: Sequence[Any] = ()
    scores: Mapping[str, np.ndarray] = {}
    made: Mapping[str, Any] = {}


def write(folder: Path, saved: Saved, command: str | None = None) -> None:
    """Write or replace a checkpoint; `command` is the one that repeats the training."""
    if folder.exists() and not (folder / RECORD).is_file():
        raise PwactError("a checkpoint to replace", f"no {RECORD} in {str(folder)!r}", "pick another folder")
    trained = saved.networks
    arrays = {f"variables.{name}": value for name, value in _named(trained.variables).items()}
    arrays |= {f"carry.{i}": np.asarray(leaf) for i, leaf in enumerate(saved.carry)}
    arrays |= {f"scores.{name}": np.asarray(value) for name, value in saved.scores.items()}
    own = trained.labels if trained.treatment == "shuffled_labels" else trained.labels[:1]
    arrays["labels"] = np.ascontiguousarray(own)
    record = {
        "schema": SCHEMA,
        "made": machine() | {"command": command},
        "config": to_dict(trained.config),
        "recipe": trained.recipe.to_dict(),
        "treatment": trained.treatment,
        "interventions": [each.name for each in trained.interventions],
        "seeds": list(trained.seeds),
        "streams": [dict(member.streams) for member in trained.members],
        "numbers": [dict(member.numbers) for member in trained.members],
        "preprocess": dataclasses.asdict(trained.preprocess),
        "data": trained.data,
        "step": saved.step,
        "steps": saved.steps,
        "resident": saved.resident,
        "devices": saved.devices,
        "snapshot": saved.snapshot,
        "diverged": list(trained.diverged),
        "seconds": trained.seconds,
        "splits": trained.curves.split.values.tolist(),
        "loss": _listed(trained.curves.loss.values),
        "accuracy": _listed(trained.curves.accuracy.values),
    }
    size = sum(array.nbytes for array in arrays.values())
    try:
        free = shutil.disk_usage(
            next(path for path in (folder, *folder.absolute().parents) if path.exists())
        ).free
        if free < size + SPARE:
            raise OSError(f"{free:,} bytes free where {size + SPARE:,} are needed")
        # From a thread, as orbax does not survive a Ctrl-C: the main thread takes it, and waits for the end.
        with ThreadPoolExecutor(1) as apart:
            apart.submit(_place, folder, arrays, record).result()
    except OSError as error:
        raise PwactError(
            f"a folder that can be written at {str(folder)!r}", str(error), "make room or pick another"
        ) from error


def saved_steps(folder: Path) -> tuple[int, int]:
    """Steps that the checkpoint in a folder has behind it, and of how many; (0, 0) where there is none."""
    if not (folder / RECORD).is_file():
        return 0, 0
    record = json.loads((folder / RECORD).read_text())
    return record["step"], record["steps"]


def read(
    folder: Path,
    config: Architecture | None = None,
    recipe: Recipe | None = None,
    interventions: tuple[Intervention, ...] = (),
) -> Saved:
    """A checkpoint, finished or not; configuration, recipe and interventions where no text makes them."""
    try:
        record = json.loads((folder / RECORD).read_text())
        schema = record["schema"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PwactError("a checkpoint folder", f"no {str(folder / RECORD)!r}", "check the path") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _broken(folder, f"{RECORD}: {error}") from error
    if schema != SCHEMA:
        raise PwactError(
            f"a checkpoint of schema {SCHEMA}, as pwact {__version__} writes it",
            f"schema {schema} in {str(folder)!r}",
            "load it with the pwact that wrote it, or train anew",
        )
    missing = FIELDS - record.keys()
    if missing:
        raise _broken(folder, f"{RECORD} lacks {', '.join(sorted(missing))}")
    place, files = folder / record["arrays"], record["files"]
    # orbax is only shown files that are whole: on broken ones its background threads complain on their own.
    found = _hashes(place)
    if found != files:
        names = sorted(name for name in found.keys() | files.keys() if found.get(name) != files.get(name))
        raise _broken(folder, f"not as it was saved: {', '.join(names)}")
    arrays = _restore(place)
    if config is None or to_dict(config) != record["config"]:
        config = from_dict(record["config"])
    if recipe is None:
        recipe = Recipe.from_dict(record["recipe"])
    elif recipe.to_dict() != record["recipe"]:
        raise PwactError(
            "a checkpoint of the recipe given",
            f"another one in {str(folder)!r}: {difference(recipe.to_dict(), record['recipe'])}",
            "load it without recipe, or train with this one",
        )
    curves = {name: (("split", "seed", "epoch"), _curve(record, name)) for name in ("loss", "accuracy")}
    members = zip(record["seeds"], record["streams"], record["numbers"], strict=True)
    networks = Trained(
        config,
        recipe,
        record["treatment"],
        tuple(Member(*member) for member in members),
        _variables(config, arrays),
        xr.Dataset(
            curves,
            {
                "split": record["splits"],
                "seed": record["seeds"],
                "epoch": np.arange(1, curves["loss"][1].shape[2] + 1),
            },
        ),
        np.broadcast_to(arrays["labels"], (len(record["seeds"]), arrays["labels"].shape[1])),
        Preprocess(**{name: tuple(value) for name, value in record["preprocess"].items()}),
        record["data"],
        record["seconds"],
        _interventions(record["interventions"], interventions),
        tuple(record["diverged"]),
    )
    places = sorted(int(name.split(".")[1]) for name in arrays if name.startswith("carry."))
    return Saved(
        networks,
        record["step"],
        record["steps"],
        record["resident"],
        record["devices"],
        record["snapshot"],
        [arrays[f"carry.{place}"] for place in places],
        {name.removeprefix("scores."): value for name, value in arrays.items() if name.startswith("scores.")},
        record["made"],
    )


def _interventions(saved: list[str], given: tuple[Intervention, ...]) -> tuple[Intervention, ...]:
    """What was in place: as given, or made again from `pwact.edits`."""
    if given or not saved:
        if [each.name for each in given] != saved:
            raise PwactError(
                f"the interventions of the checkpoint: {', '.join(saved) or 'none'}",
                ", ".join(each.name for each in given) or "none",
                "pass those that were in place in training",
            )
        return given
    found = []
    for name in saved:
        edit, _, site = name.rpartition(" at ")
        try:
            found.append(Intervention(site, resolve(edit, edits)))
        except PwactError as error:
            raise PwactError(
                f"the interventions of the checkpoint: {', '.join(saved)}",
                "none",
                "pass those that were in place in training",
            ) from error
    return tuple(found)


def _place(folder: Path, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    """Fill a folder that exists, or let a new one appear full."""
    if folder.exists():
        _fill(folder, arrays, record)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(folder) as partial:
        partial.mkdir()
        _fill(partial, arrays, record)
        os.rename(partial, folder)


def _fill(folder: Path, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    name = f"arrays-{time.time_ns()}"
    with (
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer,
        _scratch(folder / RECORD) as partial,
    ):
        try:
            try:
                with _alone():
                    checkpointer.save(folder.absolute() / name, args=ocp.args.PyTreeSave(arrays))
            except ValueError as error:  # what tensorstore makes of a failed write; the cause comes last
                raise OSError(str(error).rsplit(": ", 1)[-1].partition(" [")[0]) from error
            record = record | {"arrays": name, "files": _hashes(folder / name)}
            partial.write_text(json.dumps(record, indent=1, allow_nan=False))
            os.replace(partial, folder / RECORD)
        except BaseException:
            for broken in folder.glob(f"{name}*"):  # orbax writes beside the name, and then renames
                shutil.rmtree(broken, ignore_errors=True)
            raise
    # A process that was killed while it wrote leaves its scratch file.
    for old in [*folder.glob("arrays-*"), *folder.glob(".*.partial")]:
        if old.name != name:
            shutil.rmtree(old) if old.is_dir() else old.unlink()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """What orbax raises is all that it says: its threads also print it, each in its own way."""
    log, before = logging.getLogger("absl"), sys.unraisablehook

    def of_others(record: logging.LogRecord) -> bool:
        return "orbax" not in record.pathname

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            before(found)

    log.addFilter(of_others)
    sys.unraisablehook = hook
    try:
        yield
    except BaseException:
        time.sleep(0.2)  # tensorstore tells the arrays that were not written one by one, from its own thread
        raise
    finally:
        sys.unraisablehook = before
        log.removeFilter(of_others)


def _restore(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return {name: np.asarray(value) for name, value in checkpointer.restore(path.absolute()).items()}


def _hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file under a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A path beside `target`, gone afterwards whatever happens."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _named(variables: Any) -> dict[str, np.ndarray]:
    flat = nnx.to_flat_state(variables)
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in flat}


def _variables(config: Architecture, arrays: dict[str, np.ndarray]) -> Any:
    """The arrays in the structure that the configuration's network has."""
    state = nnx.state(nnx.eval_shape(lambda: config.build(nnx.Rngs(params=0))))
    return nnx.from_flat_state(
        [
            (path, leaf.replace(jax.numpy.asarray(arrays["variables." + ".".join(map(str, path))])))
            for path, leaf in nnx.to_flat_state(state)
        ]
    )


def _listed(values: np.ndarray) -> list[Any]:
    """Numbers as JSON holds them, which knows no NaN."""
    return np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist()


def _curve(record: dict[str, Any], name: str) -> np.ndarray:
    return np.array(record[name], np.float64).reshape(len(record["splits"]), len(record["seeds"]), -1)


def difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The entries that differ."""
    return ", ".join(
        f"{name}={_short(found.get(name))}, not {_short(wanted.get(name))}"
        for name in dict.fromkeys([*wanted, *found])
        if wanted.get(name) != found.get(name)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:16]} ..."


def _broken(folder: Path, why: str) -> PwactError:
    return PwactError(
        "a readable checkpoint", f"{str(folder)!r}, broken ({why})", "copy it again or train anew"
    )
