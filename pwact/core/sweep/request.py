"""Is this a sweep that can be answered? What is wrong is said before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pwact.core.accumulator import Accumulator
from pwact.core.arguments import accumulator, finite_number, whole_number
from pwact.core.sweep.task import Shapes, Task
from pwact.errors import PwactError


def check_request(task: Task, known: Shapes, dataset: Any) -> None:
    """What can be known to be wrong from shapes alone."""
    for (node, name, dim), size in known.results.items():
        if dim == "rank":
            points = _points_ranked(known, node, name)
            if size > len(dataset) * points:
                raise PwactError(
                    f"{len(dataset) * points:,} ranks or fewer, the {'images' if points == 1 else 'points'} "
                    f"of '{dataset.name}'",
                    f"{size:,} in '{name}' at '{node}', more than there are",
                    "ask for fewer",
                )
        if dim == "class" and dataset.labels.max() >= size:
            raise PwactError(
                f"labels in 0 .. {size - 1} for '{name}'",
                f"label {dataset.labels.max()} in dataset '{dataset.name}'",
                "give the statistic the dataset's num_classes",
            )


def _points_ranked(known: Shapes, node: str, name: str) -> int:
    """How many of an image's points at a site are ranked one by one: 1 where images are, or points apart."""
    site, statistic = known.sites.get(node), name.rpartition(".")[0]
    of_a_map = site is not None and len(site.shape) == 3
    placed = any(
        (node, array, dim) in known.results for array, dim in ((name, "row"), (f"{statistic}.row", "rank"))
    )
    return site.shape[0] * site.shape[1] if site is not None and of_a_map and not placed else 1


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
        if site.when.startswith("branch"):
            raise PwactError(
                "sites that every image passes",
                f"{name!r}, {site.when}, which holds nothing where the other branch is taken",
                "choose a site outside the branch",
            )
        if len(site.shape) == 3 and not site.is_map:
            raise PwactError(
                "maps whose axes are batch, row, column, channel",
                f"{name!r} of shape {list(site.shape)} with its axes otherwise, or not followed",
                "give the value in this order a name of its own in the model: "
                'checkpoint_name(jnp.moveaxis(x, 1, -1), "name")',
            )
        asked[site.name] = name
    return tuple(asked[name] for name in probe.sites if name in asked)


def accumulators(statistics: Any) -> dict[str, Accumulator]:
    """The statistics by name, once they are accumulators and can be saved under these names."""
    if not isinstance(statistics, Mapping) or not statistics:
        raise PwactError(
            "one statistic or more, by name", repr(statistics), 'write {"moments": moments()}, for example'
        )
    for name, acc in statistics.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise PwactError("names of statistics without '/'", repr(name), "rename it")
        accumulator(f"'{name}'", acc)
    return dict(statistics)


def images_of(dataset: Any) -> int:
    """The length of a dataset that is one, and holds an image."""
    missing = [
        part
        for part in ("read", "labels", "name", "num_classes", "image_shape", "fingerprint", "index_hash")
        if not hasattr(type(dataset), part) and not hasattr(dataset, part)
    ]
    if missing:
        raise PwactError(
            "a dataset: images by index, with labels",
            f"{type(dataset).__name__} without {', '.join(missing)}",
            "make one with pwact.data.arrays(images, labels, name=...), or load one with pwact.data.load",
        )
    if len(dataset) == 0:
        raise PwactError("one image or more", f"none in dataset '{dataset.name}'", "give images")
    return len(dataset)


def image_count(name: str, value: Any) -> int:
    """A number of images."""
    return whole_number(name, value, f"give {name} as a number of images")


def sizes(images: int, batch_size: Any, micro_batch: Any, memory: Any) -> tuple[int, int | None, int | None]:
    """Images of a load, images computed on at once, bytes of memory; None where not asked for."""
    return (
        min(image_count("batch_size", batch_size), images),
        None if micro_batch is None else image_count("micro_batch", micro_batch),
        None if memory is None else whole_number("memory", memory, "give memory as a number of bytes"),
    )


def seconds(name: str, value: Any) -> float:
    """A time of 0 seconds or more."""
    do = f"give {name} in seconds, 0 or more"
    number = finite_number(name, value, do)
    if number < 0:
        raise PwactError(f"{name} of 0 or more", repr(value), do)
    return number
