"""What is compiled once is there for the next process of the command line."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from pwact.cli.common import PROGRAM_BYTES, _make_room, programs

SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
from pwact.cli.common import programs
programs.own_process = True
programs.keep()
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.rpartition("/")[2]))
found = jax.jit(lambda x: (x @ x).sum(0)).lower(jax.ShapeDtypeStruct((64, 64), "float32")).compile()
value = found(jax.numpy.arange(4096.0).reshape(64, 64) / 3)
print("cache_hits" in hits, jax.device_get(value).tobytes().hex())
"""


def another_process(home: pathlib.Path) -> list[str]:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert not said.stderr
    return said.stdout.split()


def test_the_second_process_finds_the_program_of_the_first_and_the_same_bits(tmp_path):
    first, second = another_process(tmp_path), another_process(tmp_path)
    assert (first[0], second[0]) == ("False", "True") and first[1] == second[1]
    (folder,) = (tmp_path / "pwact" / "xla").iterdir()
    for entry in folder.iterdir():  # torn, as by a kill in the middle of writing
        entry.write_bytes(entry.read_bytes()[:40])
    assert another_process(tmp_path)[1] == first[1]


def test_where_nothing_can_be_kept_everything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    assert another_process(tmp_path / "file")[0] == "False"


def test_a_caller_of_main_keeps_its_own_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "own_process", False)
    programs.keep()
    assert not list(tmp_path.iterdir())


def test_the_oldest_programs_make_room(tmp_path):
    folder = tmp_path / "processor"
    folder.mkdir()
    for number in range(4):
        with open(folder / str(number), "wb") as file:
            file.truncate(PROGRAM_BYTES // 2)
        os.utime(folder / str(number), (number, number))
    _make_room(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]
