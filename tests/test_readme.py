"""What the README says in figures is what a command prints."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def test_the_table_of_costs_is_what_the_benchmark_prints():
    printed = subprocess.run(
        [sys.executable, "benchmarks/sweep.py", "--table"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.count("\n| ") >= 5
    assert printed.strip() in (ROOT / "README.md").read_text()


def test_every_link_of_the_pages_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
