"""Is this a sweep that can be answered? What is wrong is said before anything runs."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from pwact.core.accumulator import Accumulator
from pwact.core.program import Task, shapes
from pwact.errors import PwactError
from pwact.types import Batch


def check_request(task: Task, variables: Any, dataset: Any, load: Batch) -> None:
    """What can be known to be wrong from shapes alone."""
    for (site, name, dim), size in shapes(task, variables, load).results.items():
        if dim == "rank" and size > len(dataset):
            raise PwactError(
                f"top_k of {len(dataset)} or less, the images of '{dataset.name}'",
                f"{size} in '{name}' at '{site}': top_k larger than the dataset",
                "ask for fewer",
            )
        if dim == "class" and dataset.labels.max() >= size:
            raise PwactError(
                f"labels in 0 .. {size - 1} for '{name}'",
                f"label {dataset.labels.max()} in dataset '{dataset.name}'",
                "give by_class the dataset's num_classes",
            )


def known_sites(probe: Any, sites: Any) -> tuple[str, ...]:
    """The sites asked for, by the names they were asked for by, in the order of the model's program."""
    if isinstance(sites, str) or not sites:
        raise PwactError(
            "a sequence of site names", repr(sites), "write sites=[...] with names out of probe.sites"
        )
    asked: dict[str, str] = {}
    for name in sites:
        site = probe.sites[name]
        if site.name in asked:
            raise PwactError(
                "each site once",
                f"{name!r} after {asked[site.name]!r}, the same site",
                "leave one of them out",
            )
        if site.batch_axis != 0:
            raise PwactError(
                "sites whose first axis is the batch",
                f"{name!r}, {site.when}, of shape {list(site.shape)}, batch at axis {site.batch_axis}",
                "choose a site outside the loop or transform that moves the batch",
            )
        asked[site.name] = name
    return tuple(asked[name] for name in probe.sites if name in asked)


def accumulators(statistics: Mapping[str, Any]) -> Mapping[str, Accumulator]:
    """The statistics by name, once they are accumulators and can be saved under these names."""
    for name, acc in statistics.items():
        if not isinstance(acc, Accumulator):
            raise PwactError(
                f"an accumulator for '{name}'", repr(acc), "call the factory: moments() rather than moments"
            )
        if not name or "/" in name:
            raise PwactError("names of statistics without '/'", repr(name), "rename it")
    return statistics


def positive(name: str, value: Any) -> int:
    """A number of images."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise PwactError(
            f"{name} of 1 or more, a whole number", repr(value), f"give {name} as a number of images"
        )
    return number
