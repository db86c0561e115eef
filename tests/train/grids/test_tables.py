"""Tables and arrays of a grid, from scores that are made up; intervals against SciPy's paired test."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from pwact.data import bag, split
from pwact.models import ModelConfig
from pwact.train import QUICK
from pwact.train.grids.cells import cells_of
from pwact.train.grids.differences import POOLED, differences_of
from pwact.train.grids.draft import Draft
from pwact.train.grids.factors import factors_of
from pwact.train.grids.tables import curves_of, results_of, summary_of

SEEDS = (3, 5, 8, 13)


def made_up(mode: str, vary: dict) -> tuple:
    dataset = split(bag(size=100), seed=0)["train"]
    base = Draft(ModelConfig((24, 24, 1), 3, widths=(4,), strides=(4,), norm="none"), QUICK, {}, len(dataset))
    factors = factors_of(vary, base, mode)
    cells = cells_of(factors, base, dataset, mode)
    rng = np.random.default_rng(0)
    scores, curves = {}, {}
    for cell in cells:
        values = rng.uniform(0.5, 1, (2, 2, len(SEEDS)))
        scores[cell.name] = xr.Dataset(
            {
                "loss": (("split", "seed"), values[0]),
                "accuracy": (("split", "seed"), values[1]),
                "diverged": ("seed", [0] * len(SEEDS)),
            },
            {"split": ["train", "test"], "seed": list(SEEDS)},
        )
        epochs = 1 + len(curves) % 2
        curve = rng.uniform(0.5, 1, (2, 2, len(SEEDS), epochs))
        curves[cell.name] = xr.Dataset(
            {
                "loss": (("split", "seed", "epoch"), curve[0]),
                "accuracy": (("split", "seed", "epoch"), curve[1]),
            },
            {"split": ["train", "test"], "seed": list(SEEDS), "epoch": np.arange(1, epochs + 1)},
        )
    return factors, cells, scores, curves


@pytest.fixture(scope="module")
def full():
    return made_up("grid", {"norm": ["none", "batch", "group"], "width": [4, 8]})


def test_results_have_a_row_a_network_and_split(full):
    _, cells, scores, _ = full
    table = results_of(cells, SEEDS, scores)
    assert len(table) == len(cells) * len(SEEDS) * 2
    row = table[
        (table.norm == "batch") & (table.width == 8) & (table.seed == 5) & (table.split == "test")
    ].iloc[0]
    assert row.accuracy == float(scores["norm=batch,width=8"].accuracy.sel(seed=5, split="test"))
    # A 5x5 kernel of one channel, scale and bias of the norm, and a linear head to 3 classes.
    assert row.parameters == 25 * 8 + 2 * 8 + 8 * 3 + 3
    assert table.diverged.isna().all()


def interval(one: np.ndarray, other: np.ndarray, level: float) -> tuple[float, float]:
    found = stats.ttest_rel(one, other).confidence_interval(level)
    return found.low, found.high


def test_differences_are_scipys_paired_intervals_within_and_pooled(full):
    factors, cells, scores, _ = full
    table = differences_of(factors, cells, results_of(cells, SEEDS, scores))
    rows = table[(table.split == "test") & (table.measure == "accuracy")]

    def at(norm: str, width: int) -> np.ndarray:
        return scores[f"norm={norm},width={width}"].accuracy.sel(split="test").values

    row = rows[(rows.level == "group") & (rows.others == "width=8")].iloc[0]
    assert (row.factor, row.reference, row.n, row.comparisons) == ("norm", "none", 4, 7)
    # NumPy and SciPy in float64, so agreement to rounding.
    np.testing.assert_allclose(row.difference, (at("group", 8) - at("none", 8)).mean(), rtol=1e-12)
    np.testing.assert_allclose((row.low, row.high), interval(at("group", 8), at("none", 8), 0.95), rtol=1e-10)
    joint = interval(at("group", 8), at("none", 8), 1 - 0.05 / 7)
    np.testing.assert_allclose((row.low_joint, row.high_joint), joint, rtol=1e-10)

    row = rows[(rows.factor == "width") & (rows.others == POOLED)].iloc[0]
    one = np.mean([at(norm, 8) for norm in ("none", "batch", "group")], 0)
    other = np.mean([at(norm, 4) for norm in ("none", "batch", "group")], 0)
    assert (row.n, row.comparisons) == (4, 3), "seeds are what is counted, not networks"
    np.testing.assert_allclose((row.low, row.high), interval(one, other, 0.95), rtol=1e-10)


def test_one_at_a_time_compares_with_the_base_alone():
    factors, cells, scores, curves = made_up("one_at_a_time", {"norm": ["none", "batch"], "width": [4, 8]})
    table = differences_of(factors, cells, results_of(cells, SEEDS, scores))
    rows = table[(table.split == "test") & (table.measure == "loss")]
    assert rows[["factor", "level", "others"]].values.tolist() == [
        ["norm", "batch", "width=4"],
        ["width", 8, "norm=none"],
    ]
    arrays = curves_of(factors, cells, SEEDS, "one_at_a_time", curves, scores)
    assert arrays.final_loss.sizes == {"cell": 3, "seed": 4, "split": 2}
    assert arrays.norm.values.tolist() == ["none", "batch", "none"]
    assert arrays.width.values.tolist() == [4, 4, 8]


def test_one_seed_has_differences_and_no_intervals(full):
    factors, cells, scores, _ = full
    one = {name: each.sel(seed=[5]) for name, each in scores.items()}
    table = differences_of(factors, cells, results_of(cells, (5,), one))
    assert table.difference.notna().all() and table[["low", "high"]].isna().all(axis=None)


def test_arrays_hold_each_networks_curve_at_its_place_and_nothing_after_its_end(full):
    factors, cells, scores, curves = full
    arrays = curves_of(factors, cells, SEEDS, "grid", curves, scores)
    assert arrays.loss.sizes == {"norm": 3, "width": 2, "seed": 4, "split": 2, "epoch": 2}
    for cell in cells:
        place = arrays.sel(norm=cell.labels["norm"], width=cell.labels["width"], seed=8, split="test")
        own = curves[cell.name].sel(seed=8, split="test")
        found = place.accuracy.values
        np.testing.assert_array_equal(found[: own.sizes["epoch"]], own.accuracy.values)
        assert np.isnan(found[own.sizes["epoch"] :]).all()
        assert place.final_loss == scores[cell.name].loss.sel(seed=8, split="test")


def test_a_diverged_network_leaves_no_mean_and_no_difference(full):
    factors, cells, scores, _ = full
    broken = dict(scores)
    name = "norm=batch,width=8"
    gone = xr.DataArray(np.array(SEEDS) != 5, dims="seed")
    broken[name] = scores[name].where(gone).assign(diverged=("seed", [0, 17, 0, 0]))
    results = results_of(cells, SEEDS, broken)
    assert results[results.diverged.notna()][["seed", "diverged"]].values.tolist() == [[5, 17], [5, 17]]
    summary = summary_of(results, ["norm", "width"], "test").set_index("cell")
    assert np.isnan(summary.accuracy[name]) and np.isnan(summary.low[name])
    assert summary.accuracy.drop(name).notna().all()
    table = differences_of(factors, cells, results)
    rows = table[(table.split == "test") & (table.measure == "loss")].set_index(["factor", "level", "others"])
    assert np.isnan(rows.difference["norm", "batch", "width=8"])
    assert np.isnan(rows.low["width", 8, POOLED]), "a pooled difference needs all of its parts"
    assert np.isfinite(rows.difference["norm", "group", POOLED])
