"""What the pages say in figures is what a command prints, and what they list is what there is."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pwact

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


def test_the_table_of_statistics_lists_each_of_them_once():
    page = (ROOT / "docs" / "statistics.md").read_text()
    section = page.partition("## The statistics\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)\(", section, flags=re.MULTILINE)
    missing = sorted(set(pwact.stats.__all__) - set(listed))
    assert not missing, f"docs/statistics.md, The statistics: add a row each for {missing}"
    assert sorted(listed) == sorted(pwact.stats.__all__), "a row twice, or of a statistic that is gone"


def test_every_link_of_the_pages_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
