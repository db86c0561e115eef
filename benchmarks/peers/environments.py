"""A virtual environment for each requirements file, made where it is missing, and baukit's checkout."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BAUKIT = "https://github.com/davidbau/baukit"
BAUKIT_COMMIT = "9d51abd51ebf29769aecc38c4cbef459b731a36e"
MISSING = """
import json, sys
from importlib import metadata
def found(name):
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
print(json.dumps([name for name, version in json.loads(sys.argv[1]).items() if found(name) != version]))
"""


def pins(path: pathlib.Path) -> dict[str, str]:
    """Name and version of every package in a requirements file and those that it refers to."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(path.parent / line[3:].strip())
        elif "==" in line:
            name, _, version = line.partition("==")
            found[name.strip()] = version.strip()
    return found


def missing(python: pathlib.Path, wanted: dict[str, str]) -> list[str]:
    command = [str(python), "-c", MISSING, json.dumps(wanted)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def python_of(requirements: str | None, folder: pathlib.Path) -> pathlib.Path:
    """The interpreter whose packages are those of the file; without a file the one that runs this."""
    if requirements is None:
        return pathlib.Path(sys.executable)
    path, place = HERE / "requirements" / requirements, folder / pathlib.Path(requirements).stem
    python = place / "bin" / "python"
    if not python.exists():
        print(f"making {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
    if missing(python, pins(path)):
        print(f"installing {path.name}", file=sys.stderr)
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(path),
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
        if still := missing(python, pins(path)):
            raise SystemExit(f"{place} lacks {', '.join(still)} after installing {path}")
    return python


def baukit(source: str, folder: pathlib.Path) -> pathlib.Path:
    """The folder of baukit's modules, at the commit that is measured."""
    place = folder / "baukit-source"
    if not place.exists():
        subprocess.run(["git", "clone", "--quiet", source, place], check=True)
    subprocess.run(["git", "-C", place, "checkout", "--quiet", BAUKIT_COMMIT], check=True)
    return place / "baukit"


def variables(baukit_folder: pathlib.Path | None) -> dict[str, str]:
    """What a peer's process finds in its environment: pwact as it lies here, and baukit."""
    found = dict(os.environ) | {"PYTHONPATH": str(HERE.parents[1])}
    return found | ({"BAUKIT": str(baukit_folder)} if baukit_folder else {})
