"""A run folder becomes one HTML file that needs nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pwact._version import __version__
from pwact.errors import PwactError
from pwact.records import StudyRecord, read_record, write_text
from pwact.report import pictures, plots, points, sheet
from pwact.report.arrays import Arrays, Series, read_arrays

HUES = 10
WORDS = {
    "supported": "Every rule for it holds.",
    "refuted": "The rule against it holds.",
    "undetermined": "An interval straddles a threshold: these data do not decide.",
    "inadmissible": "The metric failed its calibration: no verdict is given.",
}


def write_report(
    folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Write a study's report: one HTML file without scripts, fonts or addresses of elsewhere.

    The same folder gives the same bytes.

    Args:
        folder: what a study left: `study.json` and `arrays.nc`.
        path: the report, a name that ends in `.html`; `report.html` in the folder if not given.
        overwrite: replace a report that exists.

    Returns:
        The report's path.

    Raises:
        PwactError: a file of the study is missing, damaged, foreign or of another run; the report exists
            already or cannot be written. Nothing half-written is left.
    """
    folder = Path(folder)
    path = folder / "report.html" if path is None else Path(path)
    if path.suffix != ".html":
        raise PwactError("a report's name to end in .html", str(path), "choose another name")
    if path.is_dir() or (path.exists() and not overwrite):
        raise PwactError("no report yet", f"{path}", "ask to overwrite it, or choose another name")
    if not folder.is_dir():
        raise PwactError(
            f"a study's folder at {folder}", "no such folder", "give the folder that a study wrote"
        )
    record: StudyRecord = read_record(folder / "study.json")
    arrays = read_arrays(folder / "arrays.nc")
    _check_one_run(record, arrays, folder)
    return write_text(render(record, arrays), path)


def _check_one_run(record: StudyRecord, arrays: Arrays, folder: Path) -> None:
    """The numbers of one run must not be drawn beside the words of another."""
    recorded = str(record.provenance.get("run_sha256", ""))
    if not recorded or recorded != arrays.run:
        one, other = (each[:12] or "without a name" for each in (recorded, arrays.run))
        raise PwactError(
            f"study.json and arrays.nc of one run in {folder}",
            f"run {one} in study.json, run {other} in arrays.nc",
            "put back the two files that one study wrote, or run it again",
        )


def render(record: StudyRecord, arrays: Arrays) -> str:
    """The report of a study as HTML text.

    Args:
        record: what is said in words and tables.
        arrays: what is drawn.

    Returns:
        A whole page.
    """
    return sheet.render(
        "page.html",
        _css(),
        version=__version__,
        words=WORDS,
        record=record,
        **_drawn(record, arrays),
    )


def _drawn(record: StudyRecord, arrays: Arrays) -> dict[str, Any]:
    """Everything that has a place on the page: charts, pictures and a colour for every network."""
    series = [*arrays.curves, *arrays.p1, *arrays.concentration, *arrays.lorenz, *arrays.kept]
    controls = [control.network for verdict in record.verdicts for control in verdict.controls]
    named = [each.name for each in record.networks]
    names = dict.fromkeys([*named, *(name for each in series for name in each.networks), *controls])
    hues = {name: f"n{i % HUES}" for i, name in enumerate(names)}
    hue = hues.__getitem__
    sites = dict.fromkeys([*arrays.maps, *arrays.top])
    return {
        "hues": hues,
        "shown": {
            "curves": _shown(arrays.curves, hues),
            "p1": _shown(arrays.p1, hues),
            "p4": _shown([*arrays.lorenz, *arrays.kept], hues),
        },
        "forests": [plots.forest(verdict, hue) for verdict in record.verdicts],
        "further": [plots.further_controls(verdict, hue) for verdict in record.verdicts],
        "calibrations": [plots.calibration(each) for each in record.calibration],
        "admissible": {
            verdict.prediction: [each for each in record.calibration if each.prediction == verdict.prediction]
            for verdict in record.verdicts
        },
        "curves": [plots.lines(each, "epoch", hue) for each in arrays.curves],
        "by_site": [plots.by_place(each, hue) for each in arrays.p1 if len(each.x) > 1],
        "by_index": [plots.by_network(each, hue) for each in arrays.p1 if len(each.x) == 1],
        "by_network": [plots.by_network(each, hue) for each in arrays.concentration],
        "kept": [plots.by_place(each, hue) for each in arrays.kept],
        "lorenz": [plots.lines(each, "share of points", hue, diagonal=True) for each in arrays.lorenz],
        "pictures": [
            points.site_pictures(site, arrays.maps.get(site), arrays.top.get(site)) for site in sites
        ],
        "frame": {"width": plots.WIDTH, "height": plots.HEIGHT, "left": plots.LEFT, "right": plots.RIGHT}
        | {"top": plots.TOP, "bottom": plots.BOTTOM},
    }


def _shown(series: list[Series], hues: dict[str, str]) -> dict[str, str]:
    """The colours of the networks in these charts."""
    there = {name for each in series for name in each.networks}
    return {name: hue for name, hue in hues.items() if name in there}


def _css() -> str:
    """The style sheet with what is made by counting: colour bars, and the panel of a chosen channel."""
    bars = [f".bar.{name}{{background:{pictures.gradient(name)}}}" for name in (points.MEAN, points.FIRING)]
    panels = [f".picker:has(.r{i}:checked) .p{i}" for i in range(points.CHANNELS)]
    shown = f"@supports selector(:has(a)){{.panel{{display:none}}\n{','.join(panels)}{{display:block}}}}"
    return "\n".join(["", sheet.resource("page.css"), *bars, shown, ""])
