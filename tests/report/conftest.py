"""The synthetic study, written once, and a browser."""

from __future__ import annotations

import pytest

from . import browser, builder


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A folder with study.json, arrays.nc and report.html."""
    from pwact.report import write_report

    folder = builder.write(tmp_path_factory.mktemp("study"))
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def html(study):
    """The report's text."""
    return (study / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """A tab of headless Chromium."""
    executable = browser.find()
    if executable is None:
        pytest.skip(f"no Chromium: none of {', '.join(browser.NAMES)} is installed")
    tab = browser.Page(executable, tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()
