"""Boxes in the image, for what a sweep found, against the gradient of each place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import pwact
from pwact.core import open_results, save_results, with_boxes
from pwact.errors import PwactError
from pwact.stats import bottom_k, by_class, extrema, top_k

RANKS = 3


@pytest.fixture(scope="module")
def swept():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Conv(1, 2, (3, 3), strides=2, rngs=rngs)
            self.second = nnx.Conv(2, 3, (3, 3), rngs=rngs)

        def __call__(self, x):
            return self.second(jax.nn.relu(self.first(x))).mean((1, 2))

    rng = np.random.default_rng(0)
    data = pwact.data.arrays(rng.normal(size=(12, 9, 11, 1)).astype(np.float32), np.arange(12) % 2)
    probe = pwact.probe(Net(nnx.Rngs(0)), jnp.zeros((1, 9, 11, 1)))
    statistics = {
        "top": top_k(RANKS),
        "classes": by_class(bottom_k(7), 3),
        "points": top_k(RANKS, per="point"),
        "ends": extrema(),
    }
    results = pwact.sweep(probe, probe.variables, data, statistics, sites=["second", "output"])
    return probe, results


def support(probe, row, column):
    """(top, left, bottom, right) of the pixels that move the second convolution at a place."""

    def at(image):
        return probe.run(probe.variables, image, sites=["second"])[1]["second"][0, row, column].sum()

    slope = np.asarray(jax.grad(at)(jnp.ones((1, 9, 11, 1))))[0, ..., 0]
    rows, columns = np.flatnonzero(slope.any(1)), np.flatnonzero(slope.any(0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def test_a_box_is_the_support_of_the_gradient_at_the_place(swept):
    probe, results = swept
    found = with_boxes(results, probe.sites)["second"].to_dataset()
    assert found["top.box"].dims == (*found["top.row"].dims, "edge")
    assert found["edge"].values.tolist() == ["top", "left", "bottom", "right"]
    for place in np.ndindex(found["top.row"].shape):
        row, column = (int(found[f"top.{name}"].values[place]) for name in ("row", "column"))
        assert found["top.box"].values[place].tolist() == support(probe, row, column)
    assert found["points.box"].dims == ("row", "column", "edge")
    for row, column in ((0, 0), (4, 5), (2, 3)):
        assert found["points.box"].values[row, column].tolist() == support(probe, row, column)


def test_where_nothing_was_found_there_is_no_box(swept):
    probe, results = swept
    boxes = with_boxes(results, probe.sites)["second"]["classes.box"]
    missing = results["second"]["classes.row"].values < 0
    assert missing[:, 6].all() and missing[2].all() and not missing[:2, :6].any()
    assert (boxes.values[missing] == -1).all() and (boxes.values[~missing] >= 0).all()


def test_the_results_are_left_alone_and_the_boxes_are_saved(swept, tmp_path):
    probe, results = swept
    boxed = with_boxes(results, probe.sites)
    assert not any(name.endswith("box") for name in results["second"].data_vars)
    assert boxed.attrs == results.attrs and set(boxed["output"].data_vars) == set(results["output"].data_vars)
    assert not any(
        "ends" in name for name in set(boxed["second"].data_vars) - set(results["second"].data_vars)
    )
    save_results(boxed, tmp_path / "r.nc")
    again = open_results(tmp_path / "r.nc")
    assert again["second"]["top.box"].dtype == np.int32
    assert again.identical(boxed)


def test_results_of_another_probe_are_refused(swept):
    _, results = swept
    smaller = pwact.probe(lambda x: jax.nn.relu(x * 2), jnp.zeros((1, 3, 3, 1)))
    renamed = results.copy()
    renamed["second"].attrs["site"] = "relu"
    with pytest.raises(PwactError, match="places in a map of 3 rows"):
        with_boxes(renamed, smaller.sites)
    with pytest.raises(PwactError, match="second"):
        with_boxes(results, smaller.sites)
