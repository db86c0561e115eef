"""From places in a map to pixels of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pwact.core.receptive_field import ReceptiveField
from pwact.errors import PwactError

EDGES = ("top", "left", "bottom", "right")


def with_boxes(results: xr.DataTree, sites: Mapping[str, Any]) -> xr.DataTree:
    """Results with the pixels that each place found by `top_k` or `bottom_k` depends on.

    (top, left, bottom, right) = receptive field of the point at (row, column), cut to the image

    Args:
        results: what a sweep returned.
        sites: the probe's own, `probe.sites`.

    Returns:
        The results with an array `box` (int32, pixels of the probe's input, `bottom` and `right` exclusive)
        beside every `row` and `column`: of their dimensions and `edge`. Beside ranks of each point it is
        [row, column, edge], since all that is found at a point has the same box. Where nothing was found it
        is -1. Sites without rows and columns, or without a known receptive field, get none.

    Raises:
        PwactError: results of a site that the probe does not have, or has in another shape.

    Example:
        >>> import jax.numpy as jnp, pwact
        >>> from flax import nnx
        >>> conv = nnx.Conv(1, 2, (3, 3), strides=2, rngs=nnx.Rngs(0))
        >>> probe = pwact.probe(conv, jnp.zeros((1, 8, 8, 1)))
        >>> top = xr.Dataset({"top.row": ("rank", [0, 3]), "top.column": ("rank", [1, 3])})
        >>> tree = xr.DataTree.from_dict({"output": top.assign_attrs(site="output")})
        >>> with_boxes(tree, probe.sites)["output"]["top.box"].values.tolist()
        [[0, 2, 3, 5], [6, 6, 8, 8]]

    Source: ours.
    """
    results = results.copy()
    for node in results.subtree:
        site = sites[node.attrs["site"]] if "site" in node.attrs else None
        if site is not None and site.is_map and site.receptive_field is not None:
            found = node.to_dataset()
            boxes = _boxes(found, _tables(site.receptive_field, site.shape[:2]), site.name)
            if boxes:
                node.dataset = found.assign(boxes).assign_coords(edge=list(EDGES))
    return results


def _tables(field: ReceptiveField, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The first and last pixels of every row, and of every column; beyond the last one that of none."""
    rows = [field.box(row, 0)[::2] for row in range(shape[0])]
    columns = [field.box(0, column)[1::2] for column in range(shape[1])]
    return np.array([*rows, (-1, -1)], np.int32), np.array([*columns, (-1, -1)], np.int32)


def _boxes(node: xr.Dataset, tables: tuple[np.ndarray, np.ndarray], site: str) -> dict[str, Any]:
    rows, columns = tables
    shape = (len(rows) - 1, len(columns) - 1)
    boxes: dict[str, Any] = {}
    for name in map(str, node.data_vars):
        owner, _, what = name.rpartition(".")
        if what == "row" and f"{owner}.column" in node:
            row, column, dims = node[name].values, node[f"{owner}.column"].values, node[name].dims
        elif what == "index" and {"row", "column"} < set(node[name].dims):
            row, column = np.indices((node.sizes["row"], node.sizes["column"]))
            dims = ("row", "column")
        else:
            continue
        largest = (int(row.max()) + 1, int(column.max()) + 1)
        if any(most > size for most, size in zip(largest, shape, strict=True)):
            raise PwactError(
                f"places in a map of {shape[0]} rows and {shape[1]} columns at '{site}'",
                f"one of {largest[0]} rows and {largest[1]} columns or more in '{name}'",
                "give the sites of the probe that was swept",
            )
        edges = np.stack([rows[row], columns[column]], -1)  # [..., first or last, row or column]
        boxes[f"{owner}.box"] = ((*dims, "edge"), edges.reshape(*row.shape, len(EDGES)), {"units": "pixel"})
    return boxes
