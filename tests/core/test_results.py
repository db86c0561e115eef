"""Saved whole or not at all, loaded with nothing lost, opened by plain xarray."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from pwact.core import check_same_model, node_name, open_results, save_results
from pwact.core.accumulator import Named
from pwact.core.provenance import variables_hash
from pwact.core.results import to_tree
from pwact.errors import PwactError

SITES = ["input", "blocks.0.relu", "conv@2", "stem/~/conv", "50%", "..", "größe ∂"]


@pytest.fixture
def tree():
    rng = np.random.default_rng(0)
    result = {
        "m.count": Named(np.asarray(2**40 + 1), ()),
        "m.mean": Named(np.array([[np.nan, 1.5], [-0.0, 3e38]], np.float32), ("row", "channel")),
        "e.index": Named(np.array([-1, 2**31 - 1], np.int32), ("channel",)),
        "none": Named(np.zeros((0, 2), np.float32), ("rank", "channel")),
        "seen": Named(np.array([True, False]), ("channel",)),
    }
    numbers = {"x": Named(rng.normal(size=3).astype(np.float32), ("channel",))}
    attrs = {"images": 12, "dataset": "zwölf", "sites": '["a"]', "ratio": 0.1}
    return to_tree({site: result if n % 2 else numbers for n, site in enumerate(SITES)}, attrs)


def leftovers(folder):
    return sorted(os.listdir(folder))


def test_nothing_is_lost(tree, tmp_path):
    save_results(tree, tmp_path / "r.nc")
    loaded = open_results(tmp_path / "r.nc")
    assert loaded.identical(tree)
    assert {node.attrs["site"] for node in loaded.leaves} == set(SITES)
    for node in tree.leaves:
        for name, array in node.data_vars.items():
            same = loaded[node.path][name]
            assert same.dtype == array.dtype and same.dims == array.dims
            assert same.values.tobytes() == array.values.tobytes()
    assert leftovers(tmp_path) == ["r.nc"]


def test_plain_xarray_opens_it(tree, tmp_path):
    save_results(tree, tmp_path / "r.nc")
    with xr.open_datatree(tmp_path / "r.nc") as plain:
        assert plain.load().identical(tree)
        assert plain["blocks.0.relu"]["m.count"].item() == 2**40 + 1


def test_node_names_are_distinct():
    assert len({node_name(site) for site in [*SITES, "50%25", "stem%2F~/conv"]}) == len(SITES) + 2
    assert "/" not in node_name("a/b") and node_name("a.b") == "a.b"


def test_a_dimension_of_several_lengths_bears_the_statistics_name():
    two, three = (Named(np.zeros((k, 2)), ("rank", "channel")) for k in (2, 3))
    node = to_tree({"relu": {"few.value": two, "by.many.value": three}}, {})["relu"]
    assert node["few.value"].dims == ("few.rank", "channel")
    assert node["by.many.value"].dims == ("by.many.rank", "channel")


def test_places_along_a_dimension_are_called_what_they_are():
    two, deep = np.zeros((2, 3)), np.zeros((4, 2, 3))
    result = {
        "low.value": Named(two, ("quantile", "channel")),
        "low.q": Named(np.array([0.1, 0.25], np.float32), ("quantile",)),
        "top.value": Named(two, ("rank", "channel")),
        "each.value": Named(deep, ("class", "quantile", "channel")),
        "each.q": Named(np.tile(np.array([0.1, 0.25], np.float32), (4, 1)), ("class", "quantile")),
        "h.count": Named(np.zeros((1, 3)), ("bin", "channel")),
        "h.edges": Named(np.array([0, 0.5], np.float32), ("edge",)),
        "own.edges": Named(np.zeros((2, 3)), ("own", "channel"), "bit"),
    }
    names = ("ant", "bee", "cat", "dog")
    statistics = {"low": "quantiles([0.1, 0.25])", "own": "mine()"}
    node = to_tree({"relu": result}, {}, statistics, names)["relu"].to_dataset()
    assert {name: list(places.values) for name, places in node.coords.items()} == {
        "quantile": [0.1, 0.25],
        "rank": [1, 2],
        "class": list(names),
        "edge": [0, 0.5],
    }
    assert node["each.value"].sel({"quantile": 0.1, "class": "bee"}).dims == ("channel",)
    assert node["low.value"].attrs == {"long_name": "value of quantiles([0.1, 0.25])"}
    assert node["own.edges"].attrs == {"units": "bit", "long_name": "edges of mine()"}
    assert to_tree({"relu": result}, {})["relu"].to_dataset()["class"].values.tolist() == [0, 1, 2, 3]


def test_quantiles_of_other_numbers_have_a_dimension_of_their_own():
    result = {
        f"{name}.{array}": value
        for name, q in (("low", [0.1]), ("high", [0.9]))
        for array, value in (
            ("value", Named(np.zeros((1, 3)), ("quantile", "channel"))),
            ("q", Named(np.array(q, np.float32), ("quantile",))),
        )
    }
    node = to_tree({"relu": result}, {})["relu"]
    assert node["low.quantile"].values == [0.1] and node["high.quantile"].values == [0.9]


def test_an_existing_file_is_replaced_only_when_asked(tree, tmp_path):
    path = tmp_path / "r.nc"
    save_results(tree, path)
    before = path.read_bytes()
    with pytest.raises(PwactError, match="exists"):
        save_results(tree, path)
    assert path.read_bytes() == before
    tree.attrs["images"] = 13
    save_results(tree, path, overwrite=True)
    assert open_results(path).attrs["images"] == 13 and leftovers(tmp_path) == ["r.nc"]


def test_a_folder_that_is_not_there(tree, tmp_path):
    with pytest.raises(PwactError, match="nothing was written"):
        save_results(tree, tmp_path / "nowhere" / "r.nc")


def test_an_interruption_leaves_what_was_there(tree, tmp_path, monkeypatch):
    path = tmp_path / "r.nc"
    save_results(tree, path)
    before = path.read_bytes()

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_results(tree, path, overwrite=True)
    assert path.read_bytes() == before and leftovers(tmp_path) == ["r.nc"]


FULL_DISK = """
import resource, sys, numpy as np
from pwact.core import save_results
from pwact.core.accumulator import Named
from pwact.core.results import to_tree
from pwact.errors import PwactError
tree = to_tree({"relu": {"x": Named(np.zeros(1_000_000), ("channel",))}}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_results(tree, sys.argv[1], overwrite=True)
except PwactError as error:
    sys.exit(0 if "make room" in str(error) else 3)
sys.exit(4)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_no_room_is_an_error_and_touches_nothing(tree, tmp_path):
    path = tmp_path / "r.nc"
    save_results(tree, path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=False)
    assert done.returncode == 0
    assert path.read_bytes() == before and leftovers(tmp_path) == ["r.nc"]


def test_files_that_are_not_results(tree, tmp_path):
    path = tmp_path / "r.nc"
    with pytest.raises(PwactError, match="no file"):
        open_results(path)
    save_results(tree, path)
    whole = path.read_bytes()
    for content in (b"", b"not netCDF", whole[: len(whole) // 2], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(PwactError, match="cannot be read"):
            open_results(path)
    xr.Dataset({"x": ("a", [1.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(PwactError, match="without pwact's mark"):
        open_results(path)
    tree.to_netcdf(path, engine="h5netcdf")
    assert open_results(path).attrs["format"] == "pwact results 1"
    later = tree.copy()
    later.attrs["format"] = "pwact results 2"
    later.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(PwactError, match="pwact results 2"):
        open_results(path)


def test_results_of_another_model_are_refused(tree):
    variables = {"kernel": np.ones(3)}
    tree.attrs["variables_sha256"] = variables_hash(variables)
    check_same_model(tree, variables)
    with pytest.raises(PwactError, match="results of another"):
        check_same_model(tree, {"kernel": np.zeros(3)})
    del tree.attrs["variables_sha256"]
    with pytest.raises(PwactError, match="results of another"):
        check_same_model(tree, variables)
