"""What every point of a site does: maps by class, and the images that move each channel most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Int, UInt8

from pwact.core.probe import Probe, Site
from pwact.core.results import node_name
from pwact.core.sweep import sweep
from pwact.data.dataset import Dataset
from pwact.stats import by_class, firing, moments, top_k

EDGES = ("top", "left", "bottom", "right")


def point_pictures(
    probe: Probe,
    variables: Any,
    part: Dataset,
    whole: Dataset,
    *,
    sites: Sequence[str],
    ranks: int,
    preprocess: Callable[[jax.Array], jax.Array],
) -> dict[str, xr.Dataset]:
    """Maps and strongest images of one network at some sites, by one sweep.

    Args:
        probe: the model.
        variables: one network's.
        part: the images swept.
        whole: the dataset that `part`'s indices count in; the images shown are read from it.
        sites: activation maps.
        ranks: images for each channel, at most as many as `part` holds.
        preprocess: from stored pixels to what the network sees.

    Returns:
        Nodes `/maps/<site>` and `/top/<site>` as docs/design.md describes them.
    """
    ranks = min(ranks, len(part))
    classes = whole.num_classes
    statistics = {
        "moments": by_class(moments(), classes),
        "firing": by_class(firing(), classes),
        "top": top_k(ranks),
    }
    results = sweep(probe, variables, part, statistics, sites=sites, preprocess=preprocess)
    nodes = {}
    for site in sites:
        found = results[node_name(site)].dataset
        maps = xr.Dataset({"mean": found["moments.mean"], "firing": found["firing.share"]})
        nodes[f"/maps/{node_name(site)}"] = maps.assign_coords({"class": np.arange(classes)})
        top = {
            name: found[f"top.{name}"].transpose("channel", "rank")
            for name in ("value", "index", "row", "column")
        }
        cell = top["index"].dims
        pixels = (*cell, "image_row", "image_column", "image_channel")
        boxes = seen_boxes(probe.sites[site], top["row"].values, top["column"].values, whole.image_shape)
        nodes[f"/top/{node_name(site)}"] = xr.Dataset(
            {
                **top,
                "image": (pixels, shown_pixels(whole, top["index"].values)),
                "box": ((*cell, "edge"), boxes),
            },
            {"edge": list(EDGES)},
        )
    return nodes


def shown_pixels(
    dataset: Dataset, index: Int[np.ndarray, "channel rank"]
) -> UInt8[np.ndarray, "channel rank row column channels"]:
    """The stored images as bytes; an image of other numbers is stretched from its least to its greatest.

    Args:
        dataset: whose images.
        index: which; -1, a rank that no image took, is shown as the first.

    Returns:
        uint8 pixels of 1 or 3 channels; of another number of channels only the first is shown.
    """
    images = np.asarray(dataset.read(np.maximum(index, 0).ravel()).image)
    if images.dtype != np.uint8:
        low = images.min((1, 2, 3), keepdims=True)
        span = images.max((1, 2, 3), keepdims=True) - low
        images = np.round(255 * (images - low) / np.where(span > 0, span, 1)).astype(np.uint8)
    if images.shape[-1] not in (1, 3):
        images = images[..., :1]
    return images.reshape(*index.shape, *images.shape[1:])


def seen_boxes(
    site: Site,
    row: Int[np.ndarray, "channel rank"],
    column: Int[np.ndarray, "channel rank"],
    image_shape: tuple[int, int, int],
) -> Int[np.ndarray, "channel rank 4"]:
    """The pixels that each point depends on; the whole image where the program does not say.

    Args:
        site: where the points are.
        row, column: of each point.
        image_shape: (row, column, channel).

    Returns:
        Edges in the order of `EDGES`, the last two exclusive.
    """
    boxes = np.empty((*row.shape, 4), np.int32)
    boxes[:] = (0, 0, *image_shape[:2])
    if site.receptive_field is not None:
        for place in np.ndindex(row.shape):
            boxes[place] = site.receptive_field.box(int(row[place]), int(column[place]))
    return boxes
