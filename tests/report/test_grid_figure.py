"""The figure of a grid, from a record and a table that are made up."""

from __future__ import annotations

import itertools
import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pwact.errors import PwactError
from pwact.report.grid_figure import draw_grid


def write(folder: pathlib.Path, factors: dict[str, list], mode: str = "grid", seeds: int = 3) -> None:
    levels = list(factors.values())
    cells = list(itertools.product(*levels))
    if mode == "one_at_a_time":
        cells = [cell for cell in cells if sum(a != b[0] for a, b in zip(cell, levels, strict=True)) < 2]
    rng = np.random.default_rng(0)
    rows = [
        {"cell": str(cell), **dict(zip(factors, cell, strict=True)), "seed": seed, "split": split}
        | {"loss": 1.0, "accuracy": rng.uniform(0.5, 1), "parameters": 1, "diverged": None}
        for cell in cells
        for seed in range(seeds)
        for split in ("train", "test")
    ]
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
    asked = {
        "factors": {name: {"levels": each} for name, each in factors.items()},
        "mode": mode,
        "seeds": list(range(seeds)),
        "data": {"train": {"name": "digits/train"}, "test": {"name": "digits/test"}},
    }
    (folder / "grid.json").write_text(json.dumps({"asked": asked}))


@pytest.mark.parametrize("mode", ["grid", "one_at_a_time"])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    "factors",
    [
        {"norm": ["none", "batch"]},
        {"norm": ["none", "None", "NA"], "learning_rate": [0.01, 1e30]},
        {"width": [4, 8, 16], "depth": [1, 2, 3], "objective": ["f(x=1)", "g(y='$a_b')"]},
    ],
)
def test_a_figure_has_a_panel_a_factor_and_is_the_same_again(factors, mode, seeds, tmp_path):
    write(tmp_path, factors, mode, seeds)
    svg, png = draw_grid(tmp_path)
    drawn = svg.read_bytes(), png.read_bytes()
    assert b"".join(drawn) and svg.read_text().startswith("<?xml")
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.std() > 5, "something is drawn"
    assert svg.read_text().count('id="axes_') == len(factors)
    draw_grid(tmp_path)
    assert (svg.read_bytes(), png.read_bytes()) == drawn
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "figure.png",
        "figure.svg",
        "grid.json",
        "results.csv",
    ]


def test_a_diverged_network_is_left_out(tmp_path):
    write(tmp_path, {"learning_rate": [0.1, 1.0]})
    table = pd.read_csv(tmp_path / "results.csv")
    table.loc[(table.learning_rate == 1.0) & (table.seed == 1), ["loss", "accuracy"]] = np.nan
    table.to_csv(tmp_path / "results.csv", index=False)
    assert draw_grid(tmp_path)


def test_no_grid_is_one_error(tmp_path):
    with pytest.raises(PwactError, match="a finished grid"):
        draw_grid(tmp_path)
    (tmp_path / "grid.json").write_text("[]")
    with pytest.raises(PwactError, match="a finished grid"):
        draw_grid(tmp_path)
