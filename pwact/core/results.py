"""Results on disk: an `xarray.DataTree` in one netCDF4 file, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pwact.core.accumulator import Named, Result
from pwact.core.provenance import variables_hash
from pwact.errors import PwactError

FORMAT = "pwact results 1"


def node_name(site: str) -> str:
    """A site's name as the name of a tree node: `/` and `%` are percent-encoded, dots stay.

    Example:
        >>> node_name("blocks.0.relu"), node_name("stem/conv")
        ('blocks.0.relu', 'stem%2Fconv')
    """
    name = site.replace("%", "%25").replace("/", "%2F")
    return name if name.strip(".") else name.replace(".", "%2E")


def to_tree(
    results: dict[str, Result],
    attrs: dict[str, Any],
    statistics: Mapping[str, str] | None = None,
    class_names: Sequence[str] = (),
) -> xr.DataTree:
    """The results of all sites as a tree with `attrs` at its root.

    Dimensions whose places have names get coordinates: the numbers q of `quantile`, labels or names of
    `class`, 1 for the first `rank`, what `edge` lies at where all points have the same edges. Where
    statistics of one site disagree on a dimension, as top_k(3) and top_k(9) do on `rank`, it is called
    `statistic.rank`.

    Args:
        results: of each site, by `statistic.array`.
        attrs: of the root.
        statistics: how each was asked for, which becomes part of the `long_name` of its arrays.
        class_names: of the dataset, if its classes have names.
    """
    nodes = {}
    for site, result in results.items():
        known = _coordinates(result, tuple(class_names))
        meanings: dict[str, set[tuple[Any, ...]]] = {}
        for name, value in result.items():
            for dim, size in zip(value.dims, value.values.shape, strict=True):
                meanings.setdefault(dim, set()).add((size, *known.get((_owner(name), dim), ())))
        arrays = {}
        coordinates: dict[str, list[Any]] = {}
        for name, value in result.items():
            owner = _owner(name)
            dims = {dim: dim if len(meanings[dim]) == 1 else f"{owner}.{dim}" for dim in value.dims}
            arrays[name] = (
                list(dims.values()),
                np.asarray(value.values),
                _words(name, value, statistics or {}),
            )
            places = {dims[dim]: known.get((owner, dim), ()) for dim in dims}
            coordinates |= {dim: list(values) for dim, values in places.items() if values}
        nodes[node_name(site)] = xr.Dataset(arrays, coordinates, attrs={"site": site})
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs = {"format": FORMAT, **attrs}
    return tree


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _coordinates(result: Result, class_names: tuple[str, ...]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What the places along a dimension of a statistic are called, by (statistic, dimension)."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for name, value in result.items():
        for dim, size in zip(value.dims, value.values.shape, strict=True):
            if dim == "rank":
                found[_owner(name), dim] = tuple(range(1, size + 1))
            elif dim in ("class", "predicted_class"):
                found[_owner(name), dim] = class_names if len(class_names) == size else tuple(range(size))
    for name, value in result.items():
        along = {"q": "quantile", "edges": "edge"}.get(name.rpartition(".")[2])
        if along is not None and set(value.dims) <= {"class", along} and value.values.size:
            places = np.asarray(value.values).reshape(-1, value.values.shape[-1])
            if (places == places[0]).all():  # of each class the same
                # As written: 0.1, and not the float64 nearest to float32's 0.1.
                found[_owner(name), along] = tuple(float(str(place)) for place in places[0])
    return found


def _words(name: str, value: Named, statistics: Mapping[str, str]) -> dict[str, str]:
    """Attributes of an array, as netCDF's conventions call them."""
    asked = [statistic for statistic in statistics if name.startswith(f"{statistic}.")]
    words = {"units": value.unit} if value.unit else {}
    if asked:
        statistic = max(asked, key=len)
        words["long_name"] = f"{name.removeprefix(statistic + '.')} of {statistics[statistic]}"
    return words


def save_results(results: xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write results to one netCDF4 file that plain xarray opens.

    The file appears under its name when it is complete: no interruption, full disk or error leaves
    part of one, nor touches one that was there.

    Args:
        results: a tree of arrays; attributes are strings and numbers.
        path: where to, usually `*.nc`.
        overwrite: replace a file that is there.

    Raises:
        PwactError: the file exists and `overwrite` is false, or it cannot be written.

    Example:
        >>> import os, tempfile, xarray as xr
        >>> tree = xr.DataTree.from_dict({"relu": xr.Dataset({"moments.mean": ("channel", [1.0, 2.0])})})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_results(tree, os.path.join(folder, "r.nc"))
        ...     open_results(os.path.join(folder, "r.nc"))["relu"]["moments.mean"].values.tolist()
        [1.0, 2.0]

    Source: ours.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise PwactError(
            "a path where nothing is yet", f"{path}, which exists", "choose another, or pass overwrite=True"
        )
    results = results.copy()
    results.attrs["format"] = FORMAT
    # Through memory: HDF5 that runs out of disk takes the process down with it.
    content = results.to_netcdf(engine="h5netcdf", encoding=_no_fill(results))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise PwactError(
            f"{path} to be writable, with {len(content)} bytes free",
            error.strerror or str(error),
            "make room, or choose another folder; nothing was written",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def open_results(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read results into memory, as they were saved.

    Args:
        path: a file that `save_results` wrote.

    Returns:
        The tree: arrays, dtypes, dimensions, attributes. The file is closed again.

    Raises:
        PwactError: no such file, cut short or damaged, or not pwact's.

    Example:
        >>> open_results("nowhere.nc")
        Traceback (most recent call last):
        pwact.errors.PwactError: expected a results file; found no file at nowhere.nc; check the path

    Source: ours.
    """
    path = Path(path)
    if not path.is_file():
        raise PwactError("a results file", f"no file at {path}", "check the path")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            results = tree.load()
    except Exception as error:  # h5py and xarray raise whatever the damaged bytes lead them to
        raise PwactError(
            "a complete netCDF4 file",
            f"{path}, which cannot be read ({type(error).__name__}: {error})",
            "make it again: it was cut short, damaged, or is something else",
        ) from error
    if not str(results.attrs.get("format", "")).startswith("pwact results "):
        raise PwactError("a file that pwact wrote", f"{path} without pwact's mark", "open it with xarray")
    if results.attrs["format"] != FORMAT:
        raise PwactError(
            FORMAT, f"{results.attrs['format']!r} in {path}", "open it with the pwact that wrote it"
        )
    return results


def check_same_model(results: xr.DataTree, variables: Any) -> None:
    """Refuse results that another model gave.

    sha256(variables) = the hash that the sweep recorded

    Args:
        results: what a sweep returned, or `open_results` read.
        variables: the variables that the results are to be used with.

    Raises:
        PwactError: the hashes differ, or the results carry none.

    Source: ours.
    """
    recorded, found = results.attrs.get("variables_sha256"), variables_hash(variables)
    if recorded != found:
        raise PwactError(
            f"results of the model at hand (variables sha256 {found[:12]})",
            f"results of another (sha256 {str(recorded)[:12]})",
            "sweep this model, or use the variables that the results were made with",
        )


def _no_fill(results: xr.DataTree) -> dict[str, dict[str, dict[str, None]]]:
    """Without this xarray would mark NaN as missing, which is not what we say with it."""
    return {
        node.path: {str(name): {"_FillValue": None} for name in node.dataset.variables}
        for node in results.subtree
    }
