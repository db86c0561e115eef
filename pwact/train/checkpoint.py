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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from flax import nnx

from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.cnn import build
from pwact.models.config import ModelConfig
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention

RECORD = "checkpoint.json"
SCHEMA = 1

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
    write(folder, trained, None)
    return folder


def load_checkpoint(
    folder: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    intervention: Intervention | None = None,
) -> Trained:
    """Load what `save_checkpoint`, or a finished `train(folder=...)`, has saved.

    Args:
        folder: the checkpoint.
        config: if given, the configuration that it must be of.
        intervention: what was in place in training, which a file cannot hold; needed where there was one.

    Returns:
        The networks, equal bit by bit.

    Raises:
        PwactError: no checkpoint; unreadable or truncated; of another configuration; of an unfinished
            training; or trained with another intervention than the one given.
    """
    folder = Path(folder)
    trained, _ = read(folder, intervention)
    if config is not None and config != trained.config:
        raise PwactError(
            "a checkpoint of the configuration given",
            f"another one in {str(folder)!r}: {difference(config, trained.config)}",
            "load it without config, or train this configuration",
        )
    epochs = trained.recipe.epochs if trained.treatment != "untrained" else 0
    if trained.curves.sizes["epoch"] < epochs:
        raise PwactError(
            "a finished training",
            f"{trained.curves.sizes['epoch']} of {epochs} epochs in {str(folder)!r}",
            "finish it: train(..., folder=folder, resume=True)",
        )
    return trained


def write(folder: Path, trained: Trained, optimizer: Any) -> None:
    """Write or replace a checkpoint; `optimizer` is the optimizer state of an unfinished training."""
    if folder.exists() and not (folder / RECORD).is_file():
        raise PwactError("a checkpoint to replace", f"no {RECORD} in {str(folder)!r}", "pick another folder")
    arrays = {f"variables.{name}": value for name, value in _named(trained.variables).items()}
    arrays |= {f"optimizer.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(optimizer))}
    arrays["labels"] = np.ascontiguousarray(trained.labels)
    record = {
        "schema": SCHEMA,
        "config": dataclasses.asdict(trained.config),
        "recipe": dataclasses.asdict(trained.recipe),
        "treatment": trained.treatment,
        "intervention": trained.intervention.name if trained.intervention else None,
        "seeds": trained.seeds,
        "preprocess": dataclasses.asdict(trained.preprocess),
        "data": trained.data,
        "seconds": trained.seconds,
        "splits": trained.curves.split.values.tolist(),
        "loss": trained.curves.loss.values.tolist(),
        "accuracy": trained.curves.accuracy.values.tolist(),
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


def saved_epochs(folder: Path) -> int:
    """How many epochs the checkpoint in a folder has behind it; 0 where there is none."""
    if not (folder / RECORD).is_file():
        return 0
    record = json.loads((folder / RECORD).read_text())
    return _curve(record, "loss").shape[2]


def read(folder: Path, intervention: Intervention | None) -> tuple[Trained, list[np.ndarray]]:
    """A checkpoint, finished or not, and the leaves of its optimizer state (none if finished)."""
    try:
        record = json.loads((folder / RECORD).read_text())
        schema, place, saved = record["schema"], folder / record["arrays"], record["files"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PwactError("a checkpoint folder", f"no {str(folder / RECORD)!r}", "check the path") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _broken(folder, f"{RECORD}: {error}") from error
    if schema != SCHEMA:
        raise PwactError(
            f"a checkpoint of schema {SCHEMA}", f"{schema}", "load it with the pwact that wrote it"
        )
    # orbax is only shown files that are whole: on broken ones its background threads complain on their own.
    found = _hashes(place)
    if found != saved:
        names = sorted(name for name in found.keys() | saved.keys() if found.get(name) != saved.get(name))
        raise _broken(folder, f"not as it was saved: {', '.join(names)}")
    arrays = _restore(place)
    stored, given = record["intervention"], intervention.name if intervention else None
    if stored != given:
        raise PwactError(
            f"the intervention of the checkpoint: {stored}",
            f"{given}",
            "pass the one that was in place in training",
        )
    config = ModelConfig.from_json(json.dumps(record["config"]))
    curves = {name: (("split", "seed", "epoch"), _curve(record, name)) for name in ("loss", "accuracy")}
    trained = Trained(
        config,
        Recipe(**record["recipe"]),
        record["treatment"],
        tuple(record["seeds"]),
        _variables(config, arrays),
        xr.Dataset(
            curves,
            {
                "split": record["splits"],
                "seed": record["seeds"],
                "epoch": np.arange(1, curves["loss"][1].shape[2] + 1),
            },
        ),
        arrays["labels"],
        Preprocess(**{name: tuple(value) for name, value in record["preprocess"].items()}),
        record["data"],
        record["seconds"],
        intervention,
    )
    places = sorted(int(name.split(".")[1]) for name in arrays if name.startswith("optimizer."))
    return trained, [arrays[f"optimizer.{place}"] for place in places]


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
    for old in folder.glob("arrays-*"):
        if old.name != name:
            shutil.rmtree(old)


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


def _variables(config: ModelConfig, arrays: dict[str, np.ndarray]) -> Any:
    """The arrays in the structure that the configuration's network has."""
    state = nnx.state(nnx.eval_shape(lambda: build(config, 0)))
    return nnx.from_flat_state(
        [
            (path, leaf.replace(jax.numpy.asarray(arrays["variables." + ".".join(map(str, path))])))
            for path, leaf in nnx.to_flat_state(state)
        ]
    )


def _curve(record: dict[str, Any], name: str) -> np.ndarray:
    return np.array(record[name], np.float64).reshape(len(record["splits"]), len(record["seeds"]), -1)


def difference(wanted: Any, found: Any) -> str:
    """The entries that differ, of two dataclasses of a kind or two dicts with the same keys."""
    one, other = (
        value if isinstance(value, dict) else dataclasses.asdict(value) for value in (wanted, found)
    )
    return ", ".join(
        f"{name}={_short(other[name])}, not {_short(one[name])}" for name in one if one[name] != other[name]
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:16]} ..."


def _broken(folder: Path, why: str) -> PwactError:
    return PwactError(
        "a readable checkpoint", f"{str(folder)!r}, broken ({why})", "copy it again or train anew"
    )
