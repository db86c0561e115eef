"""Many seeds of one configuration, trained in one call."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx

from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import NonFiniteError, PwactError
from pwact.models.config import ModelConfig
from pwact.train import program
from pwact.train.checkpoint import difference, read, saved_epochs, write
from pwact.train.company import Company, variables
from pwact.train.evaluate import check_fit, evaluate
from pwact.train.recipe import QUICK, Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Treatment, check_seeds, check_treatment, labels_for


def train(
    config: ModelConfig,
    dataset: Dataset,
    *,
    seeds: Sequence[int],
    recipe: Recipe = QUICK,
    test: Dataset | None = None,
    preprocess: Preprocess | None = None,
    treatment: Treatment = "trained",
    intervention: Intervention | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Trained:
    """Train one network for each seed.

    The seed alone decides a network's first variables, the order of its images, its shuffled labels and the
    randomness of its intervention, each from a stream of its own. On CPU the same seed gives the same bits
    whichever other seeds are in the call; on accelerators, the same seeds in the same call do.

    Args:
        config: what to train.
        dataset: the training images; they are kept on the device as they are stored.
        seeds: different whole numbers, one network each.
        recipe: how to train.
        test: held-out images, evaluated after every epoch.
        preprocess: from stored pixels to what the networks see; standardises by `dataset` if not given.
        treatment: `trained`; `shuffled_labels` permutes the training labels, for each seed anew; `untrained`
            leaves the first variables as they are.
        intervention: a change at one site, in place in training and in every evaluation.
        folder: where to save after every epoch; it must not exist unless `resume`.
        resume: go on from what `folder` holds, if it holds anything, to the same bits.
        progress: called with (epochs done, epochs in all, a sentence) after every epoch.

    Returns:
        The networks, with their curves and how they came to be.

    Raises:
        PwactError: no seeds or one twice; images or classes that do not fit the configuration; a folder that
            exists, or that holds another training.
        NonFiniteError: a loss is NaN or infinite; names the seed, the epoch and the step.
        KeyboardInterrupt: on Ctrl-C, after the running programs have ended; its message says what is saved.

    Example:
        >>> import pwact
        >>> parts = pwact.data.split(pwact.data.bag(size=100), seed=0)
        >>> config = pwact.models.ModelConfig((24, 24, 1), 3, widths=(4,), strides=(4,), norm="none")
        >>> trained = pwact.train.train(config, parts["train"], seeds=[0, 1], treatment="untrained")
        >>> trained.variables["head"]["bias"].shape
        (2, 3)
    """
    started = time.perf_counter()
    seeds = check_seeds(seeds)
    check_treatment(treatment)
    for part in (dataset,) if test is None else (dataset, test):
        check_fit(config, part)
    place = None if folder is None else Path(folder)
    if place is not None and place.exists() and not resume:
        raise PwactError(
            "a folder that does not exist yet", f"{str(place)!r}", "pick another, or pass resume=True"
        )
    networks = Trained(
        config,
        recipe,
        treatment,
        seeds,
        None,
        _curves(seeds, np.empty((2, 1 if test is None else 2, len(seeds), 0))),
        labels_for(treatment, dataset.labels, seeds),
        Preprocess.standardise(dataset) if preprocess is None else preprocess,
        {"name": dataset.name, "fingerprint": dataset.fingerprint, "index_hash": dataset.index_hash},
        0.0,
        intervention,
    )
    company = Company(networks, dataset)
    if place is not None and place.exists():
        networks, carries = _resume(place, networks, company)
    else:
        carries = company.init()
        networks = dataclasses.replace(networks, variables=variables(carries))
    epochs = 0 if treatment == "untrained" else recipe.epochs
    before = networks.seconds
    done = networks.curves.sizes["epoch"]
    try:
        for epoch in range(done, epochs):
            carries, losses, correct = company.epoch(carries, epoch)
            _check_finite(losses, seeds, epoch, _saved(place))
            networks = _advance(networks, carries, losses, correct, test)
            networks = dataclasses.replace(networks, seconds=before + time.perf_counter() - started)
            if place is not None:
                write(place, networks, [carry.optimizer for carry in carries] if epoch + 1 < epochs else None)
            done = epoch + 1
            if progress is not None:
                progress(done, epochs, _sentence(networks))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"training of {epochs} epochs stopped; {_saved(place)}") from None
    if epochs == 0:
        networks = dataclasses.replace(networks, seconds=time.perf_counter() - started)
        if place is not None and not place.exists():
            write(place, networks, None)
    return networks


def _resume(folder: Path, wanted: Trained, company: Company) -> tuple[Trained, list[program.Carry]]:
    """Where the training in `folder` stands; refuses a folder of another training."""
    found, leaves = read(folder, wanted.intervention)
    for name in ("config", "recipe", "treatment", "seeds", "preprocess", "data"):
        saved, asked = getattr(found, name), getattr(wanted, name)
        if saved != asked:
            plain = isinstance(saved, str | tuple)
            raise PwactError(
                f"a training with the {name} that was asked for",
                f"{difference({name: asked}, {name: saved}) if plain else difference(asked, saved)}"
                f" in {str(folder)!r}",
                "resume with what it was started with, or pick another folder",
            )
    if found.curves.split.size != wanted.curves.split.size:
        raise PwactError(
            f"curves of {wanted.curves.split.values.tolist()}",
            f"{found.curves.split.values.tolist()} in {str(folder)!r}",
            "resume with the test set it was started with, or without one where there was none",
        )
    params, rest = nnx.split_state(found.variables, nnx.Param, ...)
    if not leaves:
        return found, company.split(program.Carry(params, rest, None))
    shape = jax.eval_shape(company.init)
    size = len(jax.tree.leaves(shape[0].optimizer))
    carries = [
        carry._replace(
            optimizer=jax.tree.unflatten(
                jax.tree.structure(shape[i].optimizer),
                [jnp.asarray(leaf) for leaf in leaves[i * size : (i + 1) * size]],
            )
        )
        for i, carry in enumerate(company.split(program.Carry(params, rest, None)))
    ]
    return found, carries


def _advance(
    networks: Trained,
    carries: list[program.Carry],
    losses: np.ndarray,
    correct: np.ndarray,
    test: Dataset | None,
) -> Trained:
    """The networks after one more epoch, with one more point on their curves."""
    networks = dataclasses.replace(networks, variables=variables(carries))
    points = [[losses.mean(1, dtype=np.float64)], [correct.mean(1, dtype=np.float64)]]
    if test is not None:
        scores = evaluate(networks, test)
        points[0].append(scores.loss.values)
        points[1].append(scores.accuracy.values)
    before = np.stack([networks.curves.loss.values, networks.curves.accuracy.values])
    values = np.concatenate([before, np.array(points)[..., None]], -1)
    return dataclasses.replace(networks, curves=_curves(networks.seeds, values))


def _curves(seeds: tuple[int, ...], values: np.ndarray) -> xr.Dataset:
    """Curves from [loss or accuracy, split, seed, epoch]."""
    dims = ("split", "seed", "epoch")
    return xr.Dataset(
        {"loss": (dims, values[0]), "accuracy": (dims, values[1])},
        {
            "split": ["train", "test"][: values.shape[1]],
            "seed": list(seeds),
            "epoch": np.arange(1, values.shape[3] + 1),
        },
    )


def _check_finite(losses: np.ndarray, seeds: tuple[int, ...], epoch: int, saved: str) -> None:
    wrong = np.argwhere(~np.isfinite(losses.T))
    if len(wrong):
        step, place = wrong[0]
        raise NonFiniteError(
            "a finite training loss",
            f"{losses[place, step]} for seed {seeds[place]} in epoch {epoch + 1} at step {step + 1}"
            f" of {losses.shape[1]} ({saved})",
            "lower learning_rate or clip_norm, and look at the images' range",
        )


def _saved(folder: Path | None) -> str:
    if folder is None:
        return "nothing is saved, as no folder was given"
    done = saved_epochs(folder)
    if done == 0:
        return "no epoch was finished, so nothing is saved"
    return f"epochs 1 to {done} are saved in {str(folder)!r}, and resume=True goes on from there"


def _sentence(networks: Trained) -> str:
    last = networks.curves.isel(epoch=-1).mean("seed")
    name = str(last.split.values[-1])
    loss, accuracy = float(last.loss[-1]), float(last.accuracy[-1])
    return f"{networks.treatment}: {name} loss {loss:.3f}, {name} accuracy {accuracy:.1%}"
