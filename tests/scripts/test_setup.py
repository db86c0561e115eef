"""scripts/setup tells a newcomer what is missing, with a stand-in for the Python that it finds."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture
def checkout(tmp_path):
    for name in ("scripts", "requirements", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "cat", "cksum", "cut", "rm", "mkdir", "touch", "env", "flock", "ls"):
        found = shutil.which(tool)
        if found:
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def stand_in(checkout: pathlib.Path, body: str) -> None:
    script = checkout / "bin" / "python3"
    script.write_text(f"#!/bin/bash\n{body}\n")
    script.chmod(0o755)


def run(checkout: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [checkout / "scripts" / "setup"],
        env={"PATH": str(checkout / "bin"), "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_old_python_gets_a_sentence(checkout):
    stand_in(checkout, '[ "$1" = --version ] && { echo Python 3.8.10; exit 0; }; exit 1')
    done = run(checkout)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer; found Python 3.8.10" in done.stderr
    assert "apt install" in done.stderr
    assert not (checkout / ".venv" / "bin").exists()


def test_no_python_gets_a_sentence(checkout):
    done = run(checkout)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer; found" in done.stderr


def test_a_named_python_that_is_too_old_is_named_back(checkout):
    done = run(checkout, PYTHON="/no/such/python")
    assert done.returncode != 0
    assert "PYTHON=/no/such/python is not" in done.stderr


def test_a_python_without_venv_gets_a_sentence(checkout):
    stand_in(checkout, 'case "$*" in *ensurepip*) exit 1;; --version) echo Python 3.12.1;; esac; exit 0')
    done = run(checkout)
    assert done.returncode != 0
    assert "comes without venv" in done.stderr and "python3-venv" in done.stderr


def test_a_venv_of_somebody_else_is_left_alone(checkout):
    stand_in(checkout, "exit 0")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = elsewhere")
    done = run(checkout)
    assert done.returncode != 0
    assert "a .venv here that this script did not make" in done.stderr
    assert (checkout / ".venv" / "pyvenv.cfg").read_text() == "home = elsewhere"


def test_unknown_option_is_a_usage_error(checkout):
    done = subprocess.run([ROOT / "scripts" / "setup", "--tpu"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected --dev or --cuda; found '--tpu'" in done.stderr


def test_a_finished_set_up_is_left_alone(checkout):
    """Stamps that match mean that nothing is run: not even Python."""
    venv = checkout / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(sys.executable)
    stamp = subprocess.run(
        "cat pyproject.toml requirements/base.txt | cksum | cut -d' ' -f1",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout
    (checkout / ".venv" / ".pwact-base").write_text(stamp)
    done = run(checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in (checkout / ".venv").iterdir()) == [".pwact-base", "bin"]
