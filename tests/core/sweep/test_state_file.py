"""A state file is whole or not there, whatever happens to its bytes, its disk or its writer."""

from __future__ import annotations

import resource
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from pwact.core.sweep.state_file import Content, StateFile
from pwact.errors import PwactError


def content(number: int = 1) -> Content:
    return Content(
        {"images": number, "names": ["a", "b"]},
        {
            "matrix": np.arange(12.0, dtype=np.float32).reshape(3, 4).T * number,
            "number": np.uint32(2**32 - number),
            "half": np.asarray(jnp.linspace(0, 1, 5, dtype=jnp.bfloat16)),
            "flags": np.array([True, False]),
            "none": np.zeros((0, 3), np.int64),
        },
    )


def assert_same(found: Content, wanted: Content) -> None:
    assert found.note == wanted.note and list(found.arrays) == list(wanted.arrays)
    for name, array in wanted.arrays.items():
        assert found.arrays[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


@pytest.fixture
def file(tmp_path):
    with StateFile(tmp_path / "s.state") as file:
        yield file


def test_what_is_saved_is_loaded_bit_by_bit(file):
    assert file.load() is None
    file.save(content())
    assert_same(file.load(), content())
    file.remove()
    assert file.load() is None and not file.damage


def test_only_what_is_named_is_left(file, tmp_path):
    for number in range(1, 4):
        file.save(content(number))
    assert {path.name for path in tmp_path.iterdir()} == {"s.state", "s.state.previous", "s.state.lock"}
    file.remove()
    file.__exit__()
    assert not list(tmp_path.iterdir())


def test_every_cut_and_every_flipped_byte_is_seen_and_the_one_before_is_used(file, tmp_path):
    file.save(content(1))
    file.save(content(2))
    whole = file.path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*range(0, 14), *rng.integers(14, len(whole), 40).tolist(), len(whole) - 1]:
        file.path.write_bytes(whole[:at])
        assert_same(file.load(), content(1))
        assert "cut short or damaged" in file.damage
        if at >= 14:
            file.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert_same(file.load(), content(1))
    file.path.write_bytes(whole + b"0")
    assert_same(file.load(), content(1))


def test_where_nothing_is_whole_there_is_one_error(file):
    file.save(content(1))
    file.save(content(2))
    for path in (file.path, file.path.with_name("s.state.previous")):
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(PwactError, match=r"is whole; found .*s\.state: cut short .*previous: cut short"):
        file.load()


def test_between_the_two_renames_the_one_before_is_found(file):
    file.save(content(1))
    file.path.rename(file.path.with_name("s.state.previous"))
    assert_same(file.load(), content(1))
    assert not file.damage, "nothing is wrong then"


@pytest.mark.parametrize("text", [b"years of work", b"pwact state 2\n and more"])
def test_a_file_of_something_else_is_refused_and_left_alone(file, text):
    file.path.write_bytes(text)
    with pytest.raises(PwactError, match="which is not one"):
        file.load()
    assert file.path.read_bytes() == text


def test_a_full_disk_leaves_what_was_there(file, tmp_path):
    file.save(content(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(PwactError, match=r"to write the state file .*; make room"):
            file.save(Content({}, {"large": np.ones(10_000, np.float32)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(file.load(), content(1))
    assert not file.path.with_name("s.state.writing").exists()


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nowhere" / "s", tmp_path / "file" / "s", "/proc/s"):
        with pytest.raises(PwactError, match=r"state file"), StateFile(path):
            raise AssertionError("it was opened")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_process_at_a_time(file, tmp_path):
    other = f"from pwact.core.sweep.state_file import StateFile\nStateFile({str(file.path)!r}).__enter__()"
    found = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert found.returncode == 1 and "one process at a time" in found.stderr
    file.__exit__()
    assert subprocess.run([sys.executable, "-c", other]).returncode == 0
