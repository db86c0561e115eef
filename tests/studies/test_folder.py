import os

import pytest

from pwact.errors import PwactError
from pwact.studies.folder import whole_folder


def test_appears_whole(tmp_path):
    with whole_folder(tmp_path / "deep" / "run") as folder:
        (folder / "one").write_text("1")
        assert not (tmp_path / "deep" / "run").exists()
    assert os.listdir(tmp_path / "deep") == ["run"] and os.listdir(tmp_path / "deep" / "run") == ["one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_nothing_is_left_after_an_interruption(tmp_path, error):
    with pytest.raises(error), whole_folder(tmp_path / "run") as folder:
        (folder / "one").write_text("1")
        raise error
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("keep")
    with pytest.raises(PwactError, match="overwrite"), whole_folder(tmp_path / "run"):
        raise AssertionError("the block must not run")
    assert (tmp_path / "run" / "mine").read_text() == "keep"


def test_overwrite_replaces_and_a_failure_keeps_the_old(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("old")
    with pytest.raises(ValueError), whole_folder(tmp_path / "run", overwrite=True):
        raise ValueError
    assert (tmp_path / "run" / "mine").read_text() == "old"
    with whole_folder(tmp_path / "run", overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert os.listdir(tmp_path) == ["run"] and os.listdir(tmp_path / "run") == ["new"]


def test_a_file_is_never_replaced_by_a_folder(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(PwactError, match="exist"), whole_folder(tmp_path / "run", overwrite=True):
        pass
    assert (tmp_path / "run").read_text() == "a file"


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    with pytest.raises(PwactError, match="No space left"), whole_folder(tmp_path / "run"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PwactError, match="to write"), whole_folder(tmp_path / "file" / "run"):
        pass
