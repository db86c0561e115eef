"""`pwact stats`, whatever ends it: what is left, what is said, and that the same command goes on."""

from __future__ import annotations

import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import pwact
from pwact.cli import main

from .calls import main_fails, main_ok

STATISTICS = ["moments", "by_class(firing(), num_classes=10)", "extrema"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """A small network, trained by the command line."""
    folder = tmp_path_factory.mktemp("stats") / "one"
    main_ok(["train", "digits", "--seeds", "1", "--epochs", "1", "--out", str(folder)])
    return folder


def options(run: pathlib.Path, *more: str) -> list[str]:
    return ["stats", str(run), *STATISTICS, "--sites", "blocks.1.relu", "--batch-size", "4", *more]


def in_background(folder: pathlib.Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pwact", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> xr.DataTree:
    """What the command makes when nothing happens."""
    path = tmp_path_factory.mktemp("whole") / "s.nc"
    main_ok(options(run, "--out", str(path)))
    return pwact.open_results(path)


def check_same(path: pathlib.Path, whole: xr.DataTree) -> None:
    found = pwact.open_results(path)
    for node in whole.leaves:
        for name, array in node.data_vars.items():
            assert found[node.path][name].values.tobytes() == array.values.tobytes(), name
    assert found["blocks.1.relu"]["moments.count"] == len(pwact.data.digits())


def test_killed_it_resumes_at_an_image_and_ends_with_the_same_bits(run, whole, tmp_path):
    arguments = options(run, "--out", "s.nc", "--save-every", "0.02")
    process = in_background(tmp_path, *arguments)
    wait_for(tmp_path / ".s.nc.state", process)
    time.sleep(random.random() * 0.2)
    process.kill()
    process.communicate()
    assert not (tmp_path / "s.nc").exists()
    process = in_background(tmp_path, *arguments)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    (at,) = re.findall(r"Resuming at image ([\d,]+) of 1,797\.", said)
    assert 0 < int(at.replace(",", "")) <= 1797
    check_same(tmp_path / "s.nc", whole)
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def test_interrupted_it_says_what_is_kept_and_the_same_command_goes_on(run, whole, tmp_path):
    """Without --out: the state is found by the command itself."""
    process = in_background(tmp_path, *options(run, "--save-every", "0.02"))
    while not list(tmp_path.glob("runs/.stats-*.state")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    assert re.search(
        r"Interrupted\. [\d,]+ images are kept in runs/\.stats-\w+\.state: run the same command again", said
    )
    other = in_background(tmp_path, *options(run, "--network", "0"))
    again = in_background(tmp_path, *options(run, "--save-every", "0.05"))
    said = [process.communicate(timeout=120)[0] for process in (other, again)]
    assert other.returncode == again.returncode == 0
    assert "Resuming" not in said[0] and "Resuming at image" in said[1]
    check_same(tmp_path / "runs" / "stats-1.nc", whole)
    check_same(tmp_path / "runs" / "stats-2.nc", whole)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def kept_at(run, state: pathlib.Path, out: pathlib.Path, monkeypatch, capsys) -> None:
    """An interruption in the middle, in this process."""
    from pwact.cli.stats import Progress

    def stop(self, done, total):
        if done > 500:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Progress, "__call__", stop)
        main(options(run, "--out", str(out)))
    assert "run the same command again" in capsys.readouterr().err and state.exists()


def test_another_command_for_the_same_file_is_refused_unless_fresh(run, whole, tmp_path, monkeypatch, capsys):
    out, state = tmp_path / "s.nc", tmp_path / ".s.nc.state"
    kept_at(run, state, out, monkeypatch, capsys)
    other = options(run, "--out", str(out), "--split", "test")
    said = main_fails(other, capsys)
    assert re.search(r"another dataset \(digits \w{12}, now digits/test \w{12}\).*say --fresh to begin", said)
    main_ok(options(run, "--out", str(out), "--fresh"))
    assert "Resuming" not in capsys.readouterr().out
    check_same(out, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def test_a_full_disk_at_the_end_loses_nothing(run, whole, tmp_path, capsys):
    out = tmp_path / "s.nc"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(results, path, overwrite):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
        try:
            save(results, path, overwrite=overwrite)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    save = pwact.core.save_results
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pwact.core, "save_results", full)
        said = main_fails(options(run, "--out", str(out)), capsys)
    assert "make room" in said and "the statistics are kept: run the same command again" in said
    assert not out.exists() and resource.getrlimit(resource.RLIMIT_FSIZE)[0] == soft
    main_ok(options(run, "--out", str(out)))
    assert "Resuming at image 1,797 of 1,797." in capsys.readouterr().out
    check_same(out, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["s.nc"]


def test_where_it_cannot_write_it_does_not_begin(run, tmp_path, capsys, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("a sweep began")

    monkeypatch.setattr(pwact, "sweep", never)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for out, words in (
        (tmp_path / "folder", "a file to write"),
        (tmp_path / "file" / "s.nc", "File exists"),
        (pathlib.Path("/proc/s.nc"), "to write"),
    ):
        said = main_fails(options(run, "--out", str(out), "--overwrite"), capsys)
        assert words in said and said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_new_folders_are_made_and_unmade_where_nothing_came_of_them(run, tmp_path, capsys):
    main_fails(["stats", str(run), "top_k(100000)", "--out", str(tmp_path / "a" / "b" / "s.nc")], capsys)
    assert not list(tmp_path.iterdir())
    main_ok(options(run, "--split", "test", "--out", str(tmp_path / "a" / "b" / "s.nc")))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["s.nc"]


def test_gradients_and_pairs(run, tmp_path, capsys):
    out = tmp_path / "s.nc"
    asked = ["of_gradient(moments())", "cka()", "--sites", "blocks.0.relu", "--sites", "blocks.1.relu"]
    assert "say --gradient-of label" in main_fails(["stats", str(run), *asked, "--out", str(out)], capsys)
    main_ok(["stats", str(run), *asked, "--gradient-of", "label", "--micro-batch", "32", "--out", str(out)])
    said = capsys.readouterr().out
    assert "blocks.0.relu & blocks.1.relu: cka.cka = 0." in said
    assert "Reading images is what takes long" not in said
    found = pwact.open_results(out)
    assert found.attrs["micro_batch"] == 32 and "label_logit" in found.attrs["gradient_of"]
    assert np.abs(found["blocks.0.relu"]["of_gradient_moments.mean"]).max() > 0
    wrong = ["stats", str(run), "moments", "--gradient-of", "labels"]
    assert "one of these" in main_fails(wrong, capsys)


def test_a_loader_that_takes_the_time_is_said(run, tmp_path, capsys, monkeypatch):
    read = pwact.data.ArrayDataset.read

    def slowly(self, indices):
        time.sleep(0.5)
        return read(self, indices)

    monkeypatch.setattr(pwact.data.ArrayDataset, "read", slowly)
    asked = ["stats", str(run), "moments", "--sites", "input", "--batch-size", "100"]
    main_ok([*asked, "--out", str(tmp_path / "s.nc")])
    assert "Reading images is what takes long" in capsys.readouterr().out


def test_the_statistics_are_listed_without_a_run(capsys):
    with pytest.raises(SystemExit) as left:
        main(["stats", "--list"])
    assert left.value.code in (None, 0)
    said = capsys.readouterr().out
    assert all(name in said for name in pwact.stats.__all__)
    assert "top_k(k, per='channel')" in said
