"""What a report takes from `arrays.nc`, checked: plain NumPy with known axes."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, UInt8

from pwact.errors import PwactError

POOLED = "_pooled"
NODES = ("curves", "p1", "p4", "maps", "top")
TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "aii_s": "AII_s: all channels shuffled together",
    "aii_i": "AII_i: each channel shuffled on its own",
    "gini": "Gini index",
    "hoyer": "Hoyer index",
    "k90": "k90 / P",
    "lorenz": "Lorenz curve",
    "kappa": "Decisions kept (κ)",
}


class Series(NamedTuple):
    """One quantity for every network and seed along an axis: epochs, sites or quantiles.

    `title` is the quantity in words, `x` the axis's own values or names. A seed that lacks a value holds
    NaN; networks and places where no seed has one are left out. `pooled` is the value over all seeds where
    that is another than the mean of theirs, as a ratio of means is.
    """

    title: str
    networks: list[str]
    x: list[Any]
    values: Float[np.ndarray, "network seed x"]
    pooled: Float[np.ndarray, "network x"] | None = None


class Maps(NamedTuple):
    """What one site does at every point, by class; a class with no images holds NaN."""

    site: str
    classes: list[str]
    mean: Float[np.ndarray, "class row column channel"]
    firing: Float[np.ndarray, "class row column channel"]


@dataclasses.dataclass(frozen=True)
class Top:
    """The images that move each channel most; an unused rank has index -1."""

    site: str
    value: Float[np.ndarray, "channel rank"]
    index: Int[np.ndarray, "channel rank"]
    row: Int[np.ndarray, "channel rank"]
    column: Int[np.ndarray, "channel rank"]
    image: UInt8[np.ndarray, "channel rank image_row image_column image_channel"]
    box: Float[np.ndarray, "channel rank 4"]


class Arrays(NamedTuple):
    """Everything that a report draws; a node that a study did not write is empty.

    `run` is the file's `run_sha256`, which is also in the record of the same run; empty if it has none.
    """

    run: str

    curves: list[Series]
    p1: list[Series]
    concentration: list[Series]
    lorenz: list[Series]
    kept: list[Series]
    maps: dict[str, Maps]
    top: dict[str, Top]


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
    """Read `arrays.nc` as docs/design.md describes it.

    Args:
        path: the netCDF4 file of a study.

    Returns:
        The arrays, transposed to the axes named above.

    Raises:
        PwactError: missing, unreadable or truncated; a file of something else; a variable with
            other dimensions.
    """
    do = "give the folder that a study wrote, or run the study again"
    if not os.path.isfile(path):
        raise PwactError(f"the arrays of a study in {path}", "no such file", do)
    try:
        tree = xr.load_datatree(path, engine="h5netcdf", decode_times=False)
    except Exception as error:  # h5py and xarray raise whatever the damaged bytes lead them to
        raise PwactError(f"netCDF4 in {path}", f"{type(error).__name__}: {error}", do) from error
    if not set(NODES) & set(tree.children):
        found = ", ".join(sorted(tree.children)) or "no nodes"
        raise PwactError(f"one of the nodes {', '.join(NODES)} in {path}", found, do)
    p1 = _many(tree, "p1", "site", lambda name: name.lower().startswith("aii"))
    order = [str(name) for series in p1 for name in series.x]
    return Arrays(
        run=str(tree.attrs.get("run_sha256", "")),
        curves=_many(tree, "curves", "epoch", lambda name: name in ("loss", "accuracy")),
        p1=p1,
        concentration=_many(tree, "p4", "image", lambda name: name in ("gini", "hoyer", "k90")),
        lorenz=_many(tree, "p4", "quantile", lambda name: name == "lorenz"),
        kept=_many(tree, "p4", "order", lambda name: name == "kappa"),
        maps={site: _maps(site, node) for site, node in _sites(tree, "maps", order)},
        top={site: _top(site, node) for site, node in _sites(tree, "top", order)},
    )


def _many(tree: xr.DataTree, node: str, along: str, wanted: Callable[[str], bool]) -> list[Series]:
    """Every wanted variable of a node that holds a number; further axes become one series a value."""
    if node not in tree.children:
        return []
    series = []
    for name, array in tree[node].dataset.data_vars.items():
        if not wanted(str(name)) or str(name).endswith(POOLED):
            continue
        together = tree[node].dataset.get(f"{name}{POOLED}")
        if along == "site" and "site" not in array.dims:
            array = array.expand_dims("site")
            together = None if together is None else together.expand_dims("site")
        _need(array, ("network", "seed", along), f"/{node}/{name}")
        rest = [dim for dim in map(str, array.dims) if dim not in ("network", "seed", along)]
        for place in np.ndindex(*(array.sizes[dim] for dim in rest)):
            at = dict(zip(rest, place, strict=True))
            piece = array.isel(at).transpose("network", "seed", along)
            title = str(array.attrs.get("long_name") or TITLES.get(str(name), name))
            words = [_words(array, dim, i) for dim, i in at.items()]
            values = np.asarray(piece.values, float)
            known = np.isfinite(values)
            rows, places = np.flatnonzero(known.any((1, 2))), np.flatnonzero(known.any((0, 1)))
            if len(rows):
                networks = [_names(piece, "network")[i] for i in rows]
                x = [_places(piece, along)[i] for i in places]
                pooled = None
                if together is not None:
                    _need(together, ("network", along, *rest), f"/{node}/{name}{POOLED}", exactly=True)
                    pooled = together.isel(at).transpose("network", along).values.astype(float)
                    pooled = pooled[rows][:, places]
                series.append(
                    Series(", ".join([title, *words]), networks, x, values[rows][:, :, places], pooled)
                )
    return series


def _maps(site: str, node: xr.DataTree) -> Maps:
    dims = ("class", "row", "column", "channel")
    mean = _take(node, "mean", dims, f"/maps/{site}")
    firing = _take(node, "firing", dims, f"/maps/{site}")
    return Maps(site, _names(node.dataset["mean"], "class"), mean.astype(float), firing.astype(float))


def _top(site: str, node: xr.DataTree) -> Top:
    where, cell = f"/top/{site}", ("channel", "rank")
    image = _take(node, "image", (*cell, "image_row", "image_column", "image_channel"), where)
    if image.dtype != np.uint8 or image.shape[-1] not in (1, 3):
        found = f"{image.dtype} with {image.shape[-1]} channels"
        raise PwactError(f"uint8 pixels with 1 or 3 channels at {where}", found, "store the images as read")
    value = _take(node, "value", cell, where).astype(float)
    index, row, column = (_take(node, name, cell, where).astype(int) for name in ("index", "row", "column"))
    return Top(
        site, value, index, row, column, image, _take(node, "box", (*cell, "edge"), where).astype(float)
    )


def _sites(tree: xr.DataTree, node: str, order: list[str]) -> list[tuple[str, xr.DataTree]]:
    """A node's children: first in the study's own order of sites, then by name with numbers as numbers."""
    if node not in tree.children:
        return []

    def key(item: tuple[str, xr.DataTree]):
        pieces = [(piece.isdigit(), int(piece) if piece.isdigit() else piece) for piece in _split(item[0])]
        return order.index(item[0]) if item[0] in order else len(order), pieces

    return sorted(((str(name), child) for name, child in tree[node].children.items()), key=key)


def _split(name: str) -> list[str]:
    return [piece for piece in re.split(r"(\d+)", name) if piece]


def _take(node: xr.DataTree, name: str, dims: tuple[str, ...], where: str) -> np.ndarray:
    if name not in node.dataset.data_vars:
        found = ", ".join(map(str, node.dataset.data_vars)) or "nothing"
        raise PwactError(f"{name} at {where}", found, "run the study again")
    array = node.dataset[name]
    _need(array, dims, f"{where}/{name}", exactly=True)
    return array.transpose(*dims).values


def _need(array: xr.DataArray, dims: tuple[str, ...], where: str, exactly: bool = False) -> None:
    found = set(array.dims)
    if (found != set(dims)) if exactly else not set(dims) <= found:
        raise PwactError(
            f"dimensions {', '.join(dims)} at {where}", ", ".join(map(str, array.dims)), "run the study again"
        )
    if not np.issubdtype(array.dtype, np.number):
        raise PwactError(f"numbers at {where}", str(array.dtype), "run the study again")


def _places(array: xr.DataArray, dim: str) -> list[Any]:
    """An axis's own numbers or names; counted from 0 where it has neither."""
    if dim not in array.coords:
        return [float(i) for i in range(array.sizes[dim])]
    return [float(v) if isinstance(v, int | float | np.number) else str(v) for v in array[dim].values]


def _words(array: xr.DataArray, dim: str, i: int) -> str:
    """Where a further axis stands: its name alone, or the axis and a number."""
    name = _names(array, dim)[i]
    return f"{dim} {name}" if name.replace(".", "").isdigit() else name


def _names(array: xr.DataArray, dim: str) -> list[str]:
    return [str(value) for value in (array[dim].values if dim in array.coords else range(array.sizes[dim]))]
