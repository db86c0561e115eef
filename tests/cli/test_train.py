"""`pwact train` as a user meets it: grids, fields set by name, the same command after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pwact.cli import main
from pwact.cli.common import Stages
from pwact.experiment_record import RECORD as EXPERIMENT
from pwact.experiments.arms import NETWORKS
from pwact.experiments.folder import run_folder
from pwact.train import load_checkpoint, loop, recipes

from .calls import main_fails, main_ok

BRIEF = ["--seeds", "2", "--epochs", "1"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("grid") / "rates"
    vary = ["--vary", "learning_rate=0.01,0.02", "--set", "widths=(4,8)", "--set", "strides=(2,1)"]
    main_ok(["train", "digits", *vary, *BRIEF, "--out", str(folder)])
    return folder


def test_a_grid_is_tables_arrays_a_figure_and_a_folder_a_cell(grid):
    assert {path.name for path in grid.iterdir()} == {
        "differences.csv",
        "figure.png",
        "figure.svg",
        "grid.json",
        "learning_rate=0.01",
        "learning_rate=0.02",
        "results.csv",
        "results.nc",
        "seconds.csv",
    }
    assert load_checkpoint(grid / "learning_rate=0.02").config.widths == (4, 8)
    assert len(pd.read_csv(grid / "results.csv")) == 2 * 2 * 2
    with xr.open_dataset(grid / "results.nc") as arrays:
        assert arrays.accuracy.sizes == {"learning_rate": 2, "seed": 2, "split": 2, "epoch": 1}
    record = json.loads((grid / "grid.json").read_text())
    assert record["command"] == (
        "pwact train digits --seeds 2 --epochs 1 --set 'widths=(4,8)' --set 'strides=(2,1)' "
        "--vary learning_rate=0.01,0.02"
    )


def test_other_commands_take_a_cell(grid, capsys):
    main_ok(["sites", str(grid / "learning_rate=0.02")])
    assert "blocks.1.relu" in capsys.readouterr().out


def test_the_same_command_again_prints_the_same_table(grid, capsys):
    vary = ["--vary", "learning_rate=0.01,0.02", "--set", "widths=(4,8)", "--set", "strides=(2,1)"]
    main_ok(["train", "digits", *vary, *BRIEF, "--out", str(grid)])
    shown = capsys.readouterr().out
    table = pd.read_csv(grid / "results.csv")
    mean = table[(table.split == "test") & (table.learning_rate == 0.02)].accuracy.mean()
    assert f"{mean:.2%}" in shown
    assert "learning_rate: 0.02 - 0.01" in shown and "Paired by seed" in shown


def test_another_grid_in_its_folder_is_refused(grid, capsys):
    before = (grid / "results.csv").read_bytes()
    command = ["train", "digits", "--vary", "learning_rate=0.01,0.03", *BRIEF, "--out", str(grid)]
    error = main_fails(command, capsys)
    assert "0.03" in error and "choose another folder" in error
    assert (grid / "results.csv").read_bytes() == before


def test_overwrite_replaces_a_grid_and_nothing_else(grid, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    vary = ["--vary", "norm=none", "--treatment", "untrained", "--seeds", "1", "--overwrite", "--out"]
    assert "to replace" in main_fails(["train", "digits", *vary, str(tmp_path / "mine")], capsys)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    main_ok(["train", "digits", *vary[:-1], "--out", str(tmp_path / "new")])
    main_ok(["train", "digits", "--vary", "norm=batch", *vary[2:], str(tmp_path / "new")])
    assert (tmp_path / "new" / "norm=batch").is_dir() and not (tmp_path / "new" / "norm=none").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--vary", "nrom=none"], "nearest: norm"),
        (["--vary", "norm=none,bacth"], "nearest: batch"),
        (["--vary", "norm=none,none"], "different levels"),
        (["--vary", "norm="], "levels of norm"),
        (["--vary", "norm=none", "--vary", "norm=batch"], "twice"),
        (["--vary", "num_classes=3"], "num_classes"),
        (["--vary", "image_shape=(8,8,3)"], "image_shape"),
        (["--vary", "width=0"], "a level of width"),
        (["--vary", "strides=(1,2)"], "strides"),
        (["--vary", "norm=none", "--hold", "ordr=0"], "nearest: order"),
        (["--vary", "norm=none", "--vary-stream", "order", "--hold", "order=0"], "both"),
        (["--one-at-a-time"], "--vary"),
        (["--set", "epochs=2", "--epochs", "3"], "epochs twice"),
        (["--set", "kernel_size=big"], "kernel_size as a whole number"),
        (["--set", "momentum"], "NAME=VALUE"),
        (["--set", "order=1"], "order"),
        (["--architecture", "quik"], "nearest: quick"),
        (["--recipe", "mnsit5k"], "nearest: mnist5k"),
        (["--intervention", "blocks.0.relu"], "SITE=EDIT"),
    ],
)
def test_a_wrong_request_is_one_message_before_anything_is_trained(
    words, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    error = main_fails(["train", "digits", *words], capsys)
    assert error.startswith("pwact: expected ") and "; found " in error and expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_set_reaches_network_and_recipe(tmp_path):
    words = [
        "--set",
        "kernel_size=1",
        "--set",
        "width=8",
        "--set",
        "recipe.momentum=0.5",
        "--treatment",
        "untrained",
    ]
    main_ok(["train", "digits", *words, "--seeds", "1", "--out", str(tmp_path / "run")])
    found = load_checkpoint(tmp_path / "run")
    assert (found.config.kernel_size, found.config.widths[0], found.recipe.momentum) == (1, 8, 0.5)


def test_a_diverged_network_is_told_after_all_else_is_saved(tmp_path, capsys):
    recipe = ["--set", "optimizer=sgd", "--set", "clip_norm=1e30", "--set", "warmup=0", "--norm", "none"]
    command = ["train", "digits", "--vary", "learning_rate=0.01,1e30", *recipe, *BRIEF]
    error = main_fails([*command, "--out", str(tmp_path / "run")], capsys)
    assert "learning_rate=1e+30 seed 0 at step" in error and "lower learning_rate" in error
    table = pd.read_csv(tmp_path / "run" / "results.csv").set_index("learning_rate")
    assert table.accuracy[0.01].notna().all() and table.accuracy[1e30].isna().all()
    assert (tmp_path / "run" / "figure.svg").exists()


ONE = ["train", "digits", "--seeds", "1", "--epochs", "2", "--set", "widths=(4,)", "--set", "strides=(4,)"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> pathlib.Path:
    """A working folder whose runs/train-digits-1 the command ONE was stopped in after an epoch."""
    home = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(loop, "PAUSE_SECONDS", 0.0, raising=False)

        def stop(self, sentence, share):
            raise KeyboardInterrupt

        patch.setattr(Stages, "__call__", stop)
        with pytest.raises(SystemExit):
            main(ONE)
    record = json.loads((home / "runs" / "train-digits-1" / "checkpoint.json").read_text())
    assert 0 < record["step"] < record["steps"]
    return home


@pytest.fixture
def there(stopped, tmp_path, monkeypatch) -> pathlib.Path:
    """The stopped run, in a working folder of one's own."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "train-digits-1"


def bits(folder: pathlib.Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*")}


def test_overwrite_goes_on_in_what_the_same_command_left_unfinished(there, monkeypatch, capsys):
    removed = []
    monkeypatch.setattr(
        shutil,
        "rmtree",
        lambda path, *_, remove=shutil.rmtree, **options: (
            removed.append(pathlib.Path(path)),
            remove(path, **options),
        ),
    )
    main_ok([*ONE, "--overwrite", "--out", str(there)])
    assert there not in removed and "Going on in" in capsys.readouterr().out
    main_ok([*ONE, "--overwrite", "--out", str(there)])
    assert there in removed, "a finished one is replaced"


@pytest.mark.parametrize("damage", ["versions", "fingerprint", "arrays"])
def test_overwrite_replaces_what_could_not_be_gone_on_with(there, damage, capsys):
    record = json.loads((there / "checkpoint.json").read_text())
    if damage == "arrays":
        shutil.rmtree(there / record["arrays"])
    else:
        (record["made"] if damage == "versions" else record["data"])[damage] = "of another"
        (there / "checkpoint.json").write_text(json.dumps(record))
    main_ok([*ONE, "--overwrite", "--out", str(there)])
    assert "Going on in" not in capsys.readouterr().out and (there / "results.csv").is_file()


def test_a_folder_to_resume_says_so(there, capsys):
    before = bits(there)
    error = main_fails([*ONE, "--workers", "2", "--out", str(there)], capsys)
    assert "--resume" in error and "--overwrite" in error and bits(there) == before
    (there.parent / "mine").mkdir()
    assert "--resume" not in main_fails([*ONE, "--out", str(there.parent / "mine")], capsys)
    main_ok([*ONE, "--workers", "2", "--resume", "--out", str(there)])


def test_stopped_between_the_last_checkpoint_and_its_table_a_training_is_unfinished(there, capsys):
    main_ok(ONE)
    table = (there / "results.csv").read_bytes()
    (there / "results.csv").unlink()
    (there / ".results.csv.left").write_text("half a ta")
    before = (there / "checkpoint.json").read_bytes()
    for words in ([], ["--out", str(there)]):
        (there / "results.csv").unlink(missing_ok=True)
        main_ok([*ONE, *words])
        assert "Going on in" in capsys.readouterr().out
        assert (there / "results.csv").read_bytes() == table
    assert (there / "checkpoint.json").read_bytes() == before, "nothing is trained again"
    assert [path.name for path in there.parent.iterdir()] == [there.name]
    assert not (there / ".results.csv.left").exists()


def test_a_table_that_cannot_be_written_is_one_message(there, monkeypatch, capsys):
    (there / "results.csv").mkdir()
    assert "to write" in main_fails(ONE, capsys)


def test_stopped_before_its_figure_a_grid_is_unfinished_and_overwrite_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "digits", "--vary", "norm=none,batch", "--treatment", "untrained", "--seeds", "1"]
    main_ok(words)
    folder = tmp_path / "runs" / "grid-digits-1"
    figure = (folder / "figure.png").read_bytes()
    cell = folder / "norm=batch"
    for more in ([], ["--overwrite"]):
        (folder / "figure.png").unlink()
        before = bits(cell)
        main_ok([*words, *more])
        assert (folder / "figure.png").read_bytes() == figure and bits(cell) == before
    (folder / "figure.png").unlink()
    (cell / "checkpoint.json").unlink()
    assert "take it away" in main_fails(words, capsys)
    main_ok([*words, "--overwrite"])
    assert (cell / "checkpoint.json").is_file(), "one that cannot be gone on with is replaced"
    main_ok([*words, "--overwrite", "--out", str(folder)])
    assert bits(cell) != before, "a finished one is replaced"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_overwrite_goes_on_in_an_experiment_that_was_killed(tmp_path):
    wanted = {"experiment": "e98_double", "scale": "small", "seeds": [0]}
    mark = tmp_path / NETWORKS / "plain" / "checkpoint.json"
    with run_folder(tmp_path, wanted):
        mark.parent.mkdir(parents=True)
        mark.write_text("{}")
    with run_folder(tmp_path, wanted, overwrite=True):
        assert mark.exists()
    (tmp_path / EXPERIMENT).write_text("{}")
    with run_folder(tmp_path, wanted, overwrite=True):
        assert not mark.exists() and not (tmp_path / EXPERIMENT).exists(), "a finished one is replaced"


def start(folder: pathlib.Path, words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pwact", "train", "digits", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def kill_when(process: subprocess.Popen, ready) -> None:
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def run_to_end(folder: pathlib.Path, words: list[str]) -> str:
    process = start(folder, words)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return said


def table_of(said: str) -> list[str]:
    lines = said.splitlines()
    begin = next(place for place, line in enumerate(lines) if "held-out accuracy" in line)
    return [line for line in lines[begin:] if not line.startswith("Saved")]


@pytest.mark.slow
def test_a_grid_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    words = [
        "--vary",
        "norm=none,batch",
        "--vary",
        "learning_rate=0.01,0.02",
        "--seeds",
        "2",
        "--epochs",
        "3",
    ]
    words += ["--set", "widths=(4,8)", "--set", "strides=(2,1)"]
    whole = run_to_end(tmp_path, [*words, "--out", "whole"])
    killed = tmp_path / "killed"
    moments = [
        lambda: list(killed.glob(".training/*/checkpoint.json")),
        lambda: any(
            len(path.read_text().splitlines()) > 4 for path in killed.glob(".training/*/metrics.jsonl")
        ),
        lambda: (killed / "norm=none,learning_rate=0.01").exists(),
        lambda: list(killed.glob("norm=batch*")),
        lambda: (killed / "results.csv").exists(),
    ]
    for moment in moments:
        kill_when(start(tmp_path, [*words, "--out", "killed"]), moment)
    said = run_to_end(tmp_path, [*words, "--out", "killed"])
    assert "Going on in killed" in said and table_of(said) == table_of(whole)
    for name in ("results.csv", "results.nc", "differences.csv", "figure.svg", "figure.png"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert {path.name for path in killed.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
    for cell in sorted((tmp_path / "whole").glob("norm=*")):
        pair = [load_checkpoint(parent / cell.name).variables for parent in (killed, tmp_path / "whole")]
        jax.tree.map(np.testing.assert_array_equal, *pair)


@pytest.mark.slow
def test_the_same_command_without_out_goes_on_in_the_folder_that_it_was_killed_in(tmp_path):
    for words, mark in (
        (["--vary", "norm=none,batch", *BRIEF], "runs/grid-digits-1/norm=none"),
        (["--seeds", "1", "--epochs", "12"], "runs/train-digits-1/metrics.jsonl"),
    ):
        kill_when(start(tmp_path, words), (tmp_path / mark).exists)
        folder = mark.rpartition("/")[0]
        assert f"Going on in {folder}" in run_to_end(tmp_path, words)
        assert "-2" in run_to_end(tmp_path, words), "a finished folder is left alone"


def test_a_recipe_by_its_name_is_what_options_change(tmp_path):
    folder = tmp_path / "run"
    brief = ["--seeds", "1", "--epochs", "1", "--set", "widths=(4,8)", "--set", "strides=(2,1)"]
    main_ok(["train", "digits", "--recipe", "mnist5k", *brief, "--out", str(folder)])
    assert load_checkpoint(folder).recipe == dataclasses.replace(recipes.MNIST5K, epochs=1)
