"""The kinds of networks in a study: what each is, how it is trained, on which images it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pwact.data.dataset import Dataset
from pwact.models.config import ModelConfig
from pwact.records import Interval, Network
from pwact.studies import shuffles
from pwact.studies.config import StudyConfig
from pwact.train.evaluate import evaluate, t_interval
from pwact.train.loop import train
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention, Treatment

TRAINED = "trained"
SHUFFLED = "shuffled labels"
UNTRAINED = "untrained"
MOVED = "shuffled points"
SMALL = "small receptive field"
FLATTEN = "flatten head"


class Kind(NamedTuple):
    """One kind of network.

    Args:
        name: in every table.
        description: what it is, in words.
        model: its configuration.
        recipe, treatment, interventions: how it is trained.
        split: `train` or `test`, the images it is measured on.
    """

    name: str
    description: str
    model: ModelConfig
    recipe: Recipe
    treatment: Treatment = "trained"
    interventions: tuple[Intervention, ...] = ()
    split: str = "test"


def kinds(config: StudyConfig, image_shape: tuple[int, int, int], num_classes: int) -> list[Kind]:
    """The networks of a study of a dataset, in the order of its tables.

    Args:
        config: the study.
        image_shape: (row, column, channel) of the dataset.
        num_classes: of the dataset.

    Returns:
        The kinds; the first is the one that is judged.
    """
    main = config.model(image_shape, num_classes)
    small = config.small_receptive_field(image_shape, num_classes)
    patch = small.first_kernel_size
    in_place = Intervention(config.primary_site, shuffles.joint)
    return [
        Kind(TRAINED, "trained on the true labels; the networks that are judged", main, config.recipe),
        Kind(
            SHUFFLED,
            "trained on permuted labels, which can only be learnt by heart; measured on those images",
            main,
            config.memorise,
            "shuffled_labels",
            split="train",
        ),
        Kind(
            UNTRAINED,
            "as initialised: what the architecture does by itself",
            main,
            config.recipe,
            "untrained",
        ),
        Kind(
            MOVED,
            f"trained and tested with the points of {config.primary_site} in random order",
            main,
            config.recipe,
            interventions=(in_place,),
        ),
        Kind(SMALL, f"every point sees one patch of {patch} x {patch} pixels", small, config.recipe),
        Kind(
            FLATTEN,
            "a twin whose head reads every place of the last map instead of averaging it",
            config.model(image_shape, num_classes, head="flatten"),
            config.recipe,
        ),
    ]


def fit(
    kind: Kind,
    config: StudyConfig,
    splits: Mapping[str, Dataset],
    *,
    seeds: int,
    progress: Callable[[float], None],
) -> tuple[Trained, Network]:
    """Train one kind and say how well it does.

    Args:
        kind: what to train.
        config: the study.
        splits: `train` and `test` images.
        seeds: how many.
        progress: called with the share done.

    Returns:
        The networks and their line in the record: mean accuracy on the kind's split, on the labels it was
        trained on, with Student's t over seeds.
    """
    progress(0.0)
    trained = train(
        kind.model,
        splits["train"],
        seeds=range(seeds),
        recipe=kind.recipe,
        test=splits["test"],
        treatment=kind.treatment,
        interventions=kind.interventions,
        progress=lambda done, total, words: progress(done / total),
    )
    labels = trained.labels if kind.split == "train" else None
    accuracy = evaluate(trained, splits[kind.split], labels=labels).accuracy.values.astype(np.float64)
    low, high = t_interval(accuracy, config.level)
    interval = Interval(float(accuracy.mean()), max(low, 0.0), min(high, 1.0), config.level)
    network = Network(
        kind.name, kind.description, seeds, kind.split, interval, trained.parameters, trained.seconds
    )
    return trained, network
