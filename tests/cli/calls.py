"""Calling the command line in this process."""

from __future__ import annotations

import pytest

from pwact.cli import main


def main_ok(arguments: list[str]) -> None:
    try:
        main(arguments)
    except SystemExit as done:
        assert done.code in (0, None), done.code


def main_fails(arguments: list[str], capsys: pytest.CaptureFixture, code: int = 1) -> str:
    """What it says when it fails: never a traceback."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error
