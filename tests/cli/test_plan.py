"""`pwact plan` says what `pwact stats` will take."""

from __future__ import annotations

import re

import pytest

from pwact.cli import main

from .calls import main_ok


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan") / "one"
    main_ok(["train", "digits", "--seeds", "1", "--epochs", "1", "--out", str(folder)])
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_table_and_nothing_written(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main_ok(["plan", str(run), "moments", "top_k(3)", "--split", "test"])
    told = capsys.readouterr().out
    for what in ("images", "passes", "state", "peak memory", "time", "micro-batch", "compiler options"):
        assert re.search(rf"^{what} +\S", told, re.MULTILINE), what
    assert not (tmp_path / "runs").exists()


def test_what_does_not_fit_is_refused_in_one_message(run, capsys):
    with pytest.raises(SystemExit) as left:
        main(["plan", str(run), "by_class(moments(), num_classes=100000)", "--memory", "0.2"])
    assert left.value.code == 1
    error = capsys.readouterr().err
    assert "of its 100,000 ('class')" in error and "Traceback" not in error


@pytest.mark.parametrize("memory", ["0", "-1", "nan"])
def test_memory_is_a_size(run, capsys, memory):
    with pytest.raises(SystemExit) as left:
        main(["plan", str(run), "moments", "--memory", memory])
    assert left.value.code == 1 and "a number of GiB above 0" in capsys.readouterr().err


def test_several_sites_in_one_option_are_refused_with_what_to_write(run, capsys):
    with pytest.raises(SystemExit):
        main(["plan", str(run), "moments", "--sites", "blocks.0.relu,blocks.1.relu"])
    assert "--sites blocks.0.relu --sites blocks.1.relu" in capsys.readouterr().err
