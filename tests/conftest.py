"""Strict by default: types and shapes checked at run time, no rank promotion, warnings are errors."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

_hook = install_import_hook("pwact", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
