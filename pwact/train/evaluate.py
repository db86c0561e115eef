"""Logits, loss and accuracy of trained networks, and one table of many of them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.special
import scipy.stats
import xarray as xr
from jaxtyping import Float32

from pwact.core import backend
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.errors import PwactError
from pwact.models.architecture import Architecture
from pwact.train import program
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, stream

BATCH = 256


def predict(trained: Trained, dataset: Dataset) -> Float32[np.ndarray, "seed image class"]:
    """The logits of every network for every image, in evaluation mode.

    Interventions that also act in evaluation are in place, with keys of the network's own seed.

    Args:
        trained: the networks.
        dataset: the images; their stored pixels are preprocessed as in training.

    Returns:
        float32 logits, in the order of `trained.seeds` and of the dataset.

    Raises:
        PwactError: images of another shape, or another number of classes.
    """
    check_fit(trained.config, dataset)
    return logits(
        trained.config, trained.preprocess, trained.interventions, trained.variables, trained.seeds, dataset
    )


def evaluate(trained: Trained, dataset: Dataset, *, labels: Any = None) -> xr.Dataset:
    """Cross-entropy and accuracy of every network on a dataset.

    Args:
        trained: the networks.
        dataset: the images.
        labels: [image] or [seed, image], instead of the dataset's own; `trained.labels` asks how much of the
            training set was learnt.

    Returns:
        `loss` (nats) and `accuracy` (share in 0 .. 1), each with the dimension `seed`.

    Raises:
        PwactError: images, classes or labels that do not fit.
    """
    found = predict(trained, dataset)
    return score(found, dataset.labels if labels is None else labels, trained.seeds)


def results_table(
    networks: Mapping[str, Trained], test: Dataset, *, train: Dataset | None = None, level: float = 0.95
) -> pd.DataFrame:
    """One row for each network and split: mean accuracy over seeds and its interval.

    The interval is Student's t over the seeds, mean ± t(level, n - 1) s / sqrt(n), cut to 0 .. 1; with one
    seed it is NaN. It speaks of new seeds, on these same images.

    Args:
        networks: by name.
        test: held-out images, with their own labels.
        train: if given, a second row for each network on these images, with the labels it was trained on.
        level: of the interval.

    Returns:
        Columns `network`, `treatment`, `split`, `seeds`, `accuracy`, `low`, `high`, `loss`, `parameters`,
        `seconds`.
    """
    rows = []
    for name, trained in networks.items():
        splits: dict[str, tuple[Dataset, Any]] = {"test": (test, None)}
        if train is not None:
            splits["train"] = (train, trained.labels)
        for split, (dataset, labels) in splits.items():
            scores = evaluate(trained, dataset, labels=labels)
            accuracy = scores.accuracy.values.astype(np.float64)
            low, high = t_interval(accuracy, level)
            rows.append(
                {
                    "network": name,
                    "treatment": trained.treatment,
                    "split": split,
                    "seeds": len(trained),
                    "accuracy": accuracy.mean(),
                    "low": max(low, 0.0),
                    "high": min(high, 1.0),
                    "loss": float(scores.loss.mean()),
                    "parameters": trained.parameters,
                    "seconds": trained.seconds,
                }
            )
    return pd.DataFrame(rows)


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval for the mean of independent values; NaN for one value.

    Example:
        >>> low, high = t_interval(np.array([0.9, 1.0, 0.95]))
        >>> round(low, 3), round(high, 3)
        (0.826, 1.074)
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    reach = scipy.stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return float(values.mean() - reach), float(values.mean() + reach)


def logits(
    config: Architecture,
    preprocess: Preprocess,
    interventions: tuple[Intervention, ...],
    variables: Any,
    seeds: tuple[int, ...],
    dataset: Dataset,
) -> Float32[np.ndarray, "seed image class"]:
    """Logits from variables with a leading seed axis; seeds are run as `backend.seed_plan` says."""
    plan = backend.seed_plan(len(seeds))
    groups = [slice(start, start + plan.together) for start in range(0, len(seeds), plan.together)]
    parts = [jax.tree.map(lambda leaf, group=group: leaf[group], variables) for group in groups]
    keys = jax.vmap(lambda seed: stream(jax.random.key(seed), "evaluation"))(jnp.array(seeds, jnp.uint32))
    size = min(BATCH, len(dataset))
    dtype = str(dataset.read([0]).image.dtype)
    run = program.logits(config, preprocess, interventions, plan.together, size, dtype)
    found = np.empty((len(seeds), len(dataset), config.num_classes), np.float32)

    def one(task: tuple[int, np.ndarray, jax.Array]) -> None:
        number, places, image = task
        group = groups[number]
        key = jax.vmap(lambda key: jax.random.fold_in(key, places[0]))(keys[group])
        found[group, places] = np.asarray(run(parts[number], image, key))[:, : len(places)]

    with ThreadPoolExecutor(plan.at_once) as pool:
        for start in range(0, len(dataset), size):
            places = np.arange(start, min(start + size, len(dataset)))
            pixels = np.asarray(dataset.read(places).image)
            # The last batch repeats its last image up to the size that is compiled.
            image = jnp.asarray(np.pad(pixels, ((0, size - len(places)), (0, 0), (0, 0), (0, 0)), "edge"))
            list(pool.map(one, [(number, places, image) for number in range(len(groups))]))
    return found


def score(found: np.ndarray, labels: Any, seeds: tuple[int, ...]) -> xr.Dataset:
    """Cross-entropy and accuracy for each seed from logits [seed, image, class]."""
    labels = np.asarray(labels)
    if labels.shape not in (found.shape[:2], found.shape[1:2]):
        raise PwactError(
            f"labels of shape {list(found.shape[:2])} or {list(found.shape[1:2])}",
            f"{list(labels.shape)}",
            "give the labels of these very images",
        )
    labels = np.broadcast_to(labels, found.shape[:2])
    surprise = -np.take_along_axis(scipy.special.log_softmax(found, -1), labels[..., None], -1)[..., 0]
    return xr.Dataset(
        {
            "loss": ("seed", surprise.mean(1, dtype=np.float64)),
            "accuracy": ("seed", (found.argmax(-1) == labels).mean(1)),
        },
        {"seed": list(seeds)},
    )


def check_fit(config: Architecture, dataset: Dataset) -> None:
    """Refuse a dataset that the network cannot take."""
    if tuple(dataset.image_shape) != tuple(config.image_shape):
        raise PwactError(
            f"images of shape {config.image_shape} (row, column, channel)",
            f"{tuple(dataset.image_shape)} in {dataset.name!r}",
            "build the configuration for this dataset",
        )
    if dataset.num_classes != config.num_classes:
        raise PwactError(
            f"{config.num_classes} classes",
            f"{dataset.num_classes} in {dataset.name!r}",
            "set num_classes to match",
        )
