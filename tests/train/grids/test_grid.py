"""Grids that are trained: nothing but the factor differs, streams are independent, folders go on."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pwact
from pwact.errors import PwactError
from pwact.train import Intervention, Recipe, load_checkpoint, train
from pwact.train.grids import all_but, grid
from pwact.train.grids import fit as fitting

SEEDS = (3, 5)


def equal(one, other) -> bool:
    return all(
        jax.tree.leaves(jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one, other))
    )


@pytest.fixture(scope="module")
def short(recipe):
    return dataclasses.replace(recipe, epochs=2)


@pytest.fixture(scope="module")
def rates(config, short, parts, tmp_path_factory):
    """Two learning rates, trained together, in a folder."""
    folder = tmp_path_factory.mktemp("grids") / "rates"
    found = grid(
        config,
        short,
        parts["train"],
        vary={"learning_rate": [0.01, 0.02]},
        seeds=SEEDS,
        test=parts["test"],
        folder=folder,
        command="as it was",
    )
    return folder, found


@pytest.fixture(scope="module")
def alone(config, short, parts):
    """The second of them, trained as ever."""
    recipe = dataclasses.replace(short, learning_rate=0.02)
    return train(config, parts["train"], seeds=SEEDS, recipe=recipe, test=parts["test"])


def test_a_cell_holds_the_bits_of_the_same_training_on_its_own(rates, alone):
    _, found = rates
    cell = found.at(learning_rate=0.02)
    assert equal(cell.variables, alone.variables)
    xr.testing.assert_identical(cell.curves, alone.curves)
    assert cell.recipe == alone.recipe and cell.seeds == alone.seeds
    assert not equal(cell.variables, found.at(learning_rate=0.01).variables)


def test_a_folder_holds_readable_tables_arrays_and_checkpoints(rates, alone):
    folder, found = rates
    assert sorted(path.name for path in folder.iterdir()) == [
        "differences.csv",
        "grid.json",
        "learning_rate=0.01",
        "learning_rate=0.02",
        "results.csv",
        "results.nc",
        "seconds.csv",
    ]
    assert equal(load_checkpoint(folder / "learning_rate=0.02").variables, alone.variables)
    table = pd.read_csv(folder / "results.csv")
    test = pwact.train.evaluate(
        alone, pwact.data.split(pwact.data.bag(size=250, seed=0, image_size=20), seed=0)["test"]
    )
    rows = table[(table.learning_rate == 0.02) & (table.split == "test")]
    np.testing.assert_array_equal(rows.accuracy, test.accuracy.values)
    with xr.open_dataset(folder / "results.nc") as arrays:
        assert arrays.loss.sizes == {"learning_rate": 2, "seed": 2, "split": 2, "epoch": 2}
        curve = arrays.accuracy.sel(learning_rate=0.02, seed=5, split="test")
        np.testing.assert_array_equal(curve.values, alone.curves.accuracy.sel(seed=5, split="test").values)
    record = json.loads((folder / "grid.json").read_text())
    assert record["command"] == "as it was" and record["finished"]
    assert record["asked"]["recipe"]["epochs"] == 2 and jax.__version__ in record["begun"]["versions"]
    assert record["asked"]["data"]["train"]["fingerprint"] == alone.data["fingerprint"]
    assert repr(found) == "2 cells of 2 networks: learning_rate (2)"


def again(rates, config, short, parts, **changes):
    folder, _ = rates
    asked = {"vary": {"learning_rate": ["0.01", "2e-2"]}, "seeds": SEEDS, "test": parts["test"]}
    recipe = changes.pop("recipe", short)
    return grid(config, recipe, changes.pop("dataset", parts["train"]), folder=folder, **{**asked, **changes})


def test_the_same_grid_again_trains_nothing(rates, config, short, parts, monkeypatch):
    folder, found = rates
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr(fitting, "train", None)
    repeated = again(rates, config, short, parts)
    pd.testing.assert_frame_equal(repeated.results, found.results)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (3, 6)}, r"seeds: \[3, 5\] there, \[3, 6\] asked for"),
        ({"vary": {"learning_rate": [0.01, 0.03]}}, "factors"),
        ({"mode": "one_at_a_time"}, "mode"),
        ({"recipe": Recipe(epochs=2, batch_size=16)}, "recipe.batch_size: 32 there, 16 asked for"),
        ({"test": None}, "data.test"),
        ({"hold": {"order": 1}}, "hold.order: nothing there, 1 asked for"),
        ({"treatment": "shuffled_labels"}, "treatment"),
    ],
)
def test_a_folder_of_another_grid_is_refused_and_left_as_it_is(rates, config, short, parts, changes, message):
    folder, _ = rates
    before = sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(PwactError, match=message):
        again(rates, config, short, parts, **changes)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_a_grid_of_another_number_of_devices_is_another_grid(rates, config, short, parts, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(rates[0], copy)
    record = json.loads((copy / "grid.json").read_text())
    record["asked"]["devices"] = 2
    (copy / "grid.json").write_text(json.dumps(record))
    with pytest.raises(PwactError, match="devices: 2 there, 1 asked for"):
        again((copy, None), config, short, parts)


def test_a_folder_that_holds_something_else_is_refused(config, short, parts, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PwactError, match=r"thesis\.tex"):
        grid(config, short, parts["train"], vary={"norm": ["none"]}, seeds=[0], folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_other_versions_may_look_at_a_finished_grid_and_not_go_on_with_it(
    rates, config, short, parts, tmp_path
):
    folder, found = rates
    shutil.copytree(folder, tmp_path / "old")
    record = json.loads((tmp_path / "old" / "grid.json").read_text())
    record["begun"]["versions"] = "jax 0.1"
    (tmp_path / "old" / "grid.json").write_text(json.dumps(record))
    old = (tmp_path / "old", None)
    pd.testing.assert_frame_equal(again(old, config, short, parts).results, found.results)
    shutil.rmtree(tmp_path / "old" / "learning_rate=0.01")
    with pytest.raises(PwactError, match=r'versions: "jax 0\.1" there'):
        again(old, config, short, parts)


def test_cells_that_are_gone_are_trained_again_to_the_same_bits(rates, config, short, parts, tmp_path):
    folder, _ = rates
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "learning_rate=0.01")
    (copy / "learning_rate=0.02" / "scores.json").unlink()
    (copy / ".results.csv.killed").write_text("half a tab")
    (copy / ".notes").write_text("mine")
    again((copy, None), config, short, parts)
    for name in ("results.csv", "results.nc", "differences.csv"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    assert [path.name for path in copy.rglob(".*")] == [".notes"], "what is not of the grid is left alone"


def test_something_else_in_a_cells_place_is_refused_before_anything_is_trained(
    rates, config, short, parts, tmp_path, monkeypatch
):
    copy = tmp_path / "copy"
    shutil.copytree(rates[0], copy)
    (copy / "learning_rate=0.02" / "checkpoint.json").unlink()
    before = sorted(path.name for path in copy.rglob("*"))
    monkeypatch.setattr(fitting, "train", None)
    with pytest.raises(PwactError, match=r"learning_rate=0\.02.*no checkpoint\.json in it"):
        again((copy, None), config, short, parts)
    assert sorted(path.name for path in copy.rglob("*")) == before


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (["blocks.1.rleu"], r"blocks\.1\.relu"),
        (["blocks.0.relu", "blocks.0.relu"], "one intervention a site"),
    ],
)
def test_a_wrong_site_is_refused_before_anything_is_written(config, short, parts, tmp_path, sites, message):
    edits = [Intervention.parse(f"{site}=dropout(rate=0.5)") for site in sites]
    with pytest.raises(PwactError, match=message):
        grid(
            config,
            short,
            parts["train"],
            vary={"learning_rate": [0.01, 0.02]},
            seeds=SEEDS,
            interventions=edits,
            folder=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


def test_a_site_that_one_level_does_not_have_names_that_level(config, short, parts, tmp_path):
    edit = Intervention.parse("blocks.1.relu=dropout(rate=0.5)")
    with pytest.raises(PwactError, match=r"a level of depth .*depth=1: .*blocks\.1\.relu"):
        grid(
            config,
            short,
            parts["train"],
            vary={"depth": [2, 1]},
            seeds=SEEDS,
            interventions=[edit],
            folder=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


def test_two_processes_do_not_use_one_folder(rates, config, short, parts):
    from pwact.core.one_process import one_process

    folder, _ = rates
    with one_process(folder), pytest.raises(PwactError, match="one process at a time"):
        again(rates, config, short, parts)


def untrained(config, parts, **options):
    options = {"vary": {"order": [0]}, "seeds": SEEDS, **options}
    recipe = Recipe(epochs=1, batch_size=32)
    return grid(config, recipe, parts["train"], **options)


def test_a_held_stream_is_the_same_for_all_seeds_and_the_others_are_not(config, parts):
    found = untrained(config, parts, hold={"initialisation": 7}, treatment="untrained").at(order=0)
    assert equal(found.at(0), found.at(1))
    seventh = train(config, parts["train"], seeds=[7], treatment="untrained")
    assert equal(found.at(0), seventh.at(0)), "held at a seed is what that seed draws"
    free = untrained(config, parts, treatment="untrained").at(order=0)
    assert not equal(free.at(0), free.at(1))


def test_one_stream_varies_with_all_others_held(config, parts):
    one = untrained(config, parts, vary={"norm": ["batch"]}, hold=all_but("order"))
    networks = one.at(norm="batch")
    assert not equal(networks.at(0), networks.at(1))
    crossed = untrained(config, parts, vary={"order": [3, 5]}, hold=all_but("order") | {}, seeds=[0])
    for place, order in enumerate((3, 5)):
        assert equal(crossed.at(order=order).at(0), networks.at(place)), "the order is all that differs"


def test_a_network_that_diverges_stops_alone(config, parts):
    huge = grid(
        config,
        Recipe(epochs=1, batch_size=32, optimizer="sgd", warmup=0.0, clip_norm=1e30),
        parts["train"],
        vary={"learning_rate": [0.01, 1e30], "norm": ["none"]},
        seeds=SEEDS,
    )
    assert len(huge.diverged) == 2 and "learning_rate=1e+30" in huge.diverged[0]
    table = huge.results.set_index("learning_rate")
    assert table.accuracy[1e30].isna().all() and table.accuracy[0.01].notna().all()
    assert huge.differences.difference.isna().all()


def test_images_and_corruption_vary_with_one_preprocessing(config, parts):
    found = grid(
        config,
        Recipe(epochs=1, batch_size=32),
        parts["train"],
        vary={"images": [64, 200], "corruption": ["none", "contrast(severity=5)"]},
        seeds=[0],
        test=parts["test"],
        treatment="untrained",
    )
    cells = [
        found.at(images=images, corruption=text)
        for images, text in found.results[["images", "corruption"]].drop_duplicates().values
    ]
    assert len({cell.preprocess for cell in cells}) == 1
    assert [cell.labels.shape[1] for cell in cells] == [64, 64, 200, 200]
    assert len({cell.data["fingerprint"] for cell in cells}) == 4
    losses = found.results[found.results.split == "test"].set_index(["images", "corruption"]).loss
    assert losses[64, "none"] == losses[200, "none"] != losses[64, "contrast(severity=5)"]


def test_levels_that_a_grid_does_not_have_are_named(rates):
    _, found = rates
    with pytest.raises(
        PwactError, match=r"learning_rate=0\.01; learning_rate=0\.02; found {.learning_rate.: 0\.5}"
    ):
        found.at(learning_rate=0.5)
    with pytest.raises(PwactError, match="the levels of a cell"):
        found.at()


def test_ctrl_c_says_how_far_it_is(config, short, parts, tmp_path):
    def stop(share, sentence):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"1 of 2 cells are finished"):
        grid(
            config,
            short,
            parts["train"],
            vary={"norm": ["batch", "none"]},
            seeds=SEEDS,
            folder=tmp_path / "stopped",
            progress=stop,
        )
