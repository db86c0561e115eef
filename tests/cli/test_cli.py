"""The command line as a user meets it: help, defaults, one message an error, exit codes, outputs."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import xarray as xr

import pwact
from pwact.cli import main
from pwact.cli.common import Stages, ctrl_c
from pwact.models import quick, to_dict
from pwact.train import load_checkpoint

from .calls import main_fails, main_ok

VERBS = ("study", "train", "experiment", "sites", "plan", "stats", "report")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """Two small networks, trained by the command line."""
    folder = tmp_path_factory.mktemp("cli") / "two"
    main_ok(["train", "digits", "--seeds", "2", "--epochs", "2", "--out", str(folder)])
    return folder


def in_background(*arguments: str, cwd: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pwact", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_defaults_and_an_example(verb, capsys):
    main_ok([verb, "--help"])
    shown = capsys.readouterr().out
    assert re.search(rf"Example:\s+pwact {verb}", shown)
    if verb != "report":
        assert "default:" in shown


def test_defaults_of_train_are_those_of_the_standard_network(run):
    written = json.loads((run / "checkpoint.json").read_text())
    assert written["config"] == json.loads(json.dumps(to_dict(quick((8, 8, 1), 10))))


def test_train_leaves_a_table_that_other_tools_open(run):
    table = np.genfromtxt(run / "results.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert table["seeds"] == 2 and 0.1 < table["accuracy"] <= 1


def test_train_does_not_overwrite_unasked_and_does_when_asked(run, capsys):
    again = ["train", "digits", "--seeds", "1", "--epochs", "1", "--out", str(run)]
    before = (run / "checkpoint.json").read_text()
    assert "--overwrite" in main_fails(again, capsys)
    assert (run / "checkpoint.json").read_text() == before


def test_overwrite_replaces_only_what_train_made(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    out = ["--seeds", "1", "--epochs", "1", "--out", str(tmp_path / "mine"), "--overwrite"]
    assert "to replace" in main_fails(["train", "digits", *out], capsys)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_sites_prints_operation_shape_bytes_and_receptive_field(run, capsys):
    main_ok(["sites", str(run)])
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("blocks.1.relu"))
    assert "relu" in row and "4x4x32" in row and "2,048" in row
    assert re.search(r"7x7|7 ?x ?7", row), "5x5, then 3x3: a point sees 7x7 pixels"


def test_stats_are_saved_for_plain_xarray(run, tmp_path, capsys):
    out = tmp_path / "s.nc"
    images = len(pwact.data.split(pwact.data.digits(), seed=0)["test"])
    statistics = ["moments", "strongest=top_k(3)", "by_class(firing(threshold=0.5), num_classes=10)"]
    main_ok(
        ["stats", str(run), *statistics, "--sites", "blocks.1.relu", "--split", "test", "--out", str(out)]
    )
    with xr.open_datatree(out) as tree:
        node = tree["blocks.1.relu"]
        assert node["moments.mean"].dims == ("row", "column", "channel")
        assert node["strongest.index"].sizes == {"rank": 3, "channel": 32}
        assert node["by_class_firing.count"].values.sum() == node["moments.count"] == images
        assert tree.attrs["run"] == str(run) and tree.attrs["network_seed"] == 0
        assert tree.attrs["split"] == "test" and json.loads(tree.attrs["asked"]) == statistics
    assert "by_class_firing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["stats", "RUN", "momets"], "nearest: moments"),
        (["stats", "RUN", "moments", "--sites", "blocks.7"], "blocks.3"),
        (["stats", "RUN", "moments", "--sites", "input", "--sites", "input"], "once"),
        (["stats", "RUN", "moments", "moments"], "twice"),
        (["stats", "RUN", "top_k(100000)"], "1,797 ranks or fewer"),
        (["stats", "RUN", "top_k(2)", "--dataset", "mnist5k"], "8"),
        (["stats", "RUN", "moments", "--network", "7"], "[0, 1]"),
        (["stats", "RUN", "moments", "--split-seed", "5"], "split"),
        (["stats", "RUN", "moments", "--batch-size", "0"], "batch_size"),
        (["stats", "nowhere", "moments"], "nowhere"),
        (["sites", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["study", "--preset", "quik"], "nearest: quick"),
        (["study", "--dataset", "minst5k"], "mnist5k"),
        (["train", "missing.npz"], "missing.npz"),
        (["train", "digits", "--resume"], "--out"),
    ],
)
def test_a_wrong_request_gets_one_message(run, arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = main_fails([str(run) if word == "RUN" else word for word in arguments], capsys)
    assert error.startswith("pwact: expected ") and "; found " in error and expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing half-written"


@pytest.mark.parametrize(
    "arguments",
    [["stats"], ["train", "--seeds", "0"], ["study", "--wat"], ["nothing"], ["train", "--norm", "instance"]],
)
def test_a_malformed_command_is_a_usage_error(arguments, capsys):
    assert "Usage: pwact" in main_fails(arguments, capsys, code=2)


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(pwact.PwactError):
        main(["report", str(tmp_path / "nowhere"), "--debug"])


def test_what_was_not_foreseen_is_still_one_message(run, monkeypatch, capsys):
    def broken(path):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("pwact.train.load_checkpoint", broken)
    assert "ZeroDivisionError: by zero" in main_fails(["sites", str(run)], capsys)


def test_python_m_pwact_is_pwact(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "pwact", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, f"pwact {pwact.__version__}\n")


def test_help_comes_at_once_and_starts_no_backend(tmp_path):
    code = "import sys, pwact.cli; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_import_pwact_starts_no_backend(tmp_path):
    code = (
        "import pwact, pwact.core.sweep, pwact.stats, pwact.data, pwact.train, pwact.studies\n"
        "from jax._src import xla_bridge\n"
        "import sys; sys.exit(bool(xla_bridge._backends))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_ctrl_c_in_training_says_what_is_saved_and_resumes_to_the_same_bits(tmp_path):
    arguments = ["digits", "--seeds", "1", "--epochs", "40", "--out"]
    process = in_background("train", *arguments, "broken", cwd=tmp_path)
    deadline = time.monotonic() + 90
    while not (tmp_path / "broken" / "metrics.jsonl").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said and "saved in 'broken'" in said and "--resume" in said
    for words in (["broken", "--resume"], ["whole"]):
        done = in_background("train", *arguments, *words, cwd=tmp_path)
        assert done.communicate(timeout=300) and done.returncode == 0
    found = [load_checkpoint(tmp_path / name).variables for name in ("broken", "whole")]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_ctrl_c_in_a_sweep_leaves_nothing(run, tmp_path):
    arguments = ["stats", str(run), "moments", "--batch-size", "1", "--out", "s.nc"]
    process = in_background(*arguments, cwd=tmp_path)
    while "Sweeping" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said and "Interrupted" in said
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_is_one_message(tmp_path):
    pytest.importorskip("resource")
    program = """
import resource
from pwact.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_960, resource.RLIM_INFINITY))
main()
"""
    arguments = ["train", "digits", "--seeds", "4", "--treatment", "untrained", "--out", "run"]
    failed = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("pwact: expected a folder that can be written at 'run'; found File too")
    assert failed.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


class DropsCtrlC:
    """A Ctrl-C in a place where Python ignores exceptions, as in a callback of the garbage collector."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_python_dropped_stops_at_the_next_progress(capsys):
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with ctrl_c.listening(), Stages() as stages:
        stages("one", 0.1)
        DropsCtrlC()
        with pytest.raises(KeyboardInterrupt):
            stages("two", 0.2)
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
    with ctrl_c.listening(), Stages() as stages:
        stages("another command", 0.1)
    assert "ignored" not in capsys.readouterr().err


def test_a_ctrl_c_that_python_dropped_and_nothing_could_stop_is_told(run, monkeypatch, capsys):
    def dropping(path):
        DropsCtrlC()
        return load_checkpoint(path)

    monkeypatch.setattr("pwact.train.load_checkpoint", dropping)
    assert "too late" in main_fails(["sites", str(run)], capsys, code=130)


def test_a_ctrl_c_dropped_by_the_garbage_collector_stops_a_sweep(run, tmp_path):
    program = """
import atexit, gc, signal, sys
from pwact.cli import main
atexit.register(print, "taken apart")
def once(phase, info):
    if "pwact.core.sweep" in sys.modules and phase == "start":
        gc.callbacks.remove(once)
        signal.raise_signal(signal.SIGINT)
gc.callbacks.append(once)
main()
"""
    arguments = ["stats", str(run), "moments", "--out", "s.nc"]
    stopped = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert stopped.returncode == 130
    assert stopped.stderr.startswith("pwact: Interrupted.") and stopped.stderr.count("\n") == 1
    assert "taken apart" not in stopped.stdout, (
        "an interrupted XLA can crash when Python ends in the usual way"
    )
    assert not list(tmp_path.iterdir())


def test_sites_takes_a_run_or_images_and_not_both(run, capsys):
    assert "a run, or --dataset" in main_fails(["sites", str(run), "--dataset", "digits"], capsys)
