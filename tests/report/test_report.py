"""The report as a file: whole, self-contained, accessible, escaped, honest about what is missing."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import xarray as xr
from PIL import Image

from pwact.errors import PwactError
from pwact.records import Interval
from pwact.report import write_report

from . import builder

VOID = {"meta", "br", "input", "img", "link", "hr"}
EVIL = "<script>alert('x')</script>\"onload=\"x & 'y'"


class Tree(html.parser.HTMLParser):
    """Checks that tags nest, and keeps every element with its attributes, its parents and its text."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute twice in <{tag}>: {names}"
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(data for path, data in self.texts if "style" not in path).split())


def page_of(folder, **changes):
    """The parsed report of a study that differs in the given fields, or in its arrays."""
    tree = changes.pop("tree", None)
    builder.write(folder, builder.record(**changes), tree)
    return Tree(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tree(html):
    return Tree(html)


def test_it_is_small_and_in_order(html, study):
    assert (study / "report.html").stat().st_size < 3_000_000
    order = ["In short", "Verdicts", "Calibration: does", "Details", "Networks", "What the points do"]
    order += ["How each number was made", "Configuration", "Limits", "Provenance"]
    places = [html.index(f'title">{heading}') for heading in order]
    assert places == sorted(places)


def test_every_verdict_comes_after_its_calibration(html):
    cards = re.findall(r'<article class="card \w+" .*?</article>', html, re.S)
    assert len(cards) == 2
    for card in cards:
        assert card.index("Calibrated") < card.index('class="verdict"')


def test_the_same_folder_gives_the_same_bytes(study, html, tmp_path):
    assert write_report(study, tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_nothing_comes_from_elsewhere(tree, html):
    for _, attributes, _ in tree.elements:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:image/png;base64,")), address
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?:", html)
    assert not tree.all("script")


def test_its_policy_names_exactly_its_own_style(tree, html):
    policy = next(each["content"] for each in tree.all("meta") if "http-equiv" in each)
    style = re.search(r"<style>(.*?)</style>", html, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "script-src" not in policy


def test_every_picture_is_described_with_numbers_or_is_decoration(tree):
    told = 0
    for tag, attributes, _ in tree.elements:
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert re.search(r"\d", attributes["aria-label"]), attributes["aria-label"]
            told += 1
        assert tag != "img" or attributes.get("alt")
    assert told > 1000


def test_structure_for_those_who_do_not_see_it(tree):
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len([tag for tag, _, path in tree.elements if tag == landmark and "article" not in path]) == 1
    levels = [int(tag[1]) for tag, _, _ in tree.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes, _ in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = [each["href"] for tag in ("a", "use") for each in tree.all(tag)]
    assert {address.removeprefix("#") for address in used} <= set(ids)
    assert {each["aria-labelledby"] for _, each, _ in tree.elements if "aria-labelledby" in each} <= set(ids)
    assert all(each.get("scope") for each in tree.all("th"))


def test_it_says_every_number_of_the_record(tree):
    text = tree.text
    for expected in (
        "lower bound ≥ 0.5",
        "0.412 [0.351, 0.473]",
        "0.688 [0.633, 0.743]",
        "Holm-adjusted p = 0.214",
        "p of the support rules < 0.001",
        "95.8 % [95.5 %, 96.1 %]",
        "24,874",
        "AUROC 0.970, needs ≥ 0.95",
        "1 − 4/49",
        "p1.refute_retained",
        "0.0005",
        "a41b" * 16,
        "two fills lessen that",
        "with 10,000 draws",
        "7 × 7 points, 32 channels; shown are the 24 whose mean differs most between classes",
    ):
        assert expected in text, expected


def test_pictures_are_the_arrays_own_values(study, html):
    """The first site's map of one channel, read back from the page, has its peak where the array has it."""
    maps = builder.arrays()["/maps/blocks.0.relu"].dataset
    mean = maps["mean"].values[..., 2]
    address = re.search(
        r'<image id="m0-2-0" href="data:image/png;base64,([^"]+)" width="(\d+)" height="(\d+)"', html
    )
    picture = Image.open(io.BytesIO(base64.b64decode(address[1])))
    assert picture.size == (int(address[2]), int(address[3])) == (10 * 15, 14)
    light = picture.convert("L").load()
    strongest = max(range(10), key=lambda label: mean[label].max())
    x, y = max(((x, y) for x in range(150) if x % 15 < 14 for y in range(14)), key=lambda place: light[place])
    assert mean[strongest].max() - mean[x // 15, y, x % 15] < 0.02 * mean.max()


def test_names_are_escaped(tmp_path):
    base = builder.record()
    networks = [EVIL if name == "trained" else name for name in builder.NETWORKS]
    page = page_of(
        tmp_path / "evil",
        title=EVIL,
        question=EVIL,
        dataset={"name": EVIL, EVIL: EVIL},
        configuration={EVIL: {EVIL: [EVIL]}},
        provenance={EVIL: EVIL, "run_sha256": builder.RUN},
        summary=[EVIL],
        limits=[EVIL],
        networks=[replace(base.networks[0], name=EVIL, description=EVIL, split=EVIL), *base.networks[1:]],
        calibration=[
            replace(
                each,
                metric=EVIL,
                how=EVIL,
                planted=[replace(p, network=EVIL, expected=EVIL) for p in each.planted],
            )
            for each in base.calibration
        ],
        verdicts=[
            replace(
                each,
                title=EVIL,
                reading=EVIL,
                explanation=EVIL,
                how=EVIL,
                criteria=[replace(criterion, name=EVIL) for criterion in each.criteria],
                controls=[replace(control, metric=EVIL, network=EVIL) for control in each.controls],
            )
            for each in base.verdicts
        ],
        tree=builder.arrays(networks, [EVIL, *builder.CLASSES[1:]]),
    )
    assert not page.all("script")
    assert not any("onload" in attributes for _, attributes, _ in page.elements)
    assert page.text.count("<script>") > 40
    assert any(EVIL in each.get("aria-label", "") for each in page.all("svg"))


@pytest.mark.parametrize(
    "node, sentence",
    [
        ("curves", "This study left no training curves."),
        ("p1", "This study left no indices of arrangement."),
        ("p4", "This study left no measures of concentration."),
        ("maps", "This study left no maps here."),
        ("top", "This study kept no images for this site."),
    ],
)
def test_a_missing_node_is_a_sentence(tmp_path, node, sentence):
    arrays = builder.arrays()
    del arrays[node]
    page = page_of(tmp_path / "study", tree=arrays)
    assert sentence in page.text
    others = {"curves": "Accuracy, test", "p1": "AII_s: all", "p4": "Lorenz curve", "maps": "Mean activation"}
    for other, title in others.items():
        assert (title in page.text) == (other != node)


def test_a_study_of_almost_nothing(tmp_path):
    arrays = builder.arrays()
    for node in ("p1", "p4", "maps", "top"):
        del arrays[node]
    for name in ("loss", "accuracy"):
        arrays["curves"][name][:] = math.nan
    empty = dict(networks=[], verdicts=[], calibration=[], summary=[], limits=[], configuration={})
    text = page_of(tmp_path / "study", tree=arrays, **empty).text
    for sentence in (
        "This study left no summary.",
        "This study gives no verdict.",
        "This study holds no calibration.",
        "This study names no network.",
        "This study left no training curves.",
        "This study left no maps and no images.",
        "This study measured nothing.",
        "This study states no limits.",
    ):
        assert sentence in text


def test_undefined_numbers_are_called_so(tmp_path):
    base = builder.record()
    nothing = Interval(math.nan, math.nan, math.nan)
    verdict = replace(
        base.verdicts[0],
        verdict="inadmissible",
        p_holm=math.nan,
        criteria=[replace(base.verdicts[0].criteria[0], interval=nothing)],
        controls=[replace(base.verdicts[0].controls[0], interval=nothing)],
    )
    check = replace(base.calibration[0], auroc=math.nan, bag=[math.nan, 0.5], relation=[], admissible=False)
    page = page_of(tmp_path / "study", verdicts=[verdict], calibration=[check])
    assert "Inadmissible" in page.text and "Calibration failed" in page.text
    assert "Holm-adjusted p undefined" in page.text
    labels = [each["aria-label"] for each in page.all("svg") if "aria-label" in each]
    assert "AII_s, shuffled labels: undefined" in labels
    assert "relation: undefined" in labels
    assert not re.search(r"\bnan\b", page.text, re.I)


def test_a_verdict_without_calibration_says_so(tmp_path):
    page = page_of(tmp_path / "study", calibration=[])
    assert page.text.count("This study holds no calibration for it.") == 2


def test_a_class_without_images_is_called_so(tmp_path):
    arrays = builder.arrays()
    for site in builder.SITES:
        for name in ("mean", "firing"):
            arrays[f"/maps/{site}"][name][3] = math.nan
    page = page_of(tmp_path / "study", tree=arrays)
    assert "3 no images" in page.text
    assert any(
        each.get("aria-label", "").endswith("for class 3: no images of this class")
        for each in page.all("svg")
    )


def test_an_existing_report_is_kept_unless_asked(tmp_path):
    folder = builder.write(tmp_path / "study")
    report = folder / "report.html"
    report.write_text("mine")
    with pytest.raises(PwactError, match="overwrite"):
        write_report(folder)
    assert report.read_text() == "mine"
    assert write_report(folder, overwrite=True) == report
    assert report.read_text().startswith("<!doctype html>")


def test_it_goes_where_it_is_told(study, tmp_path):
    assert write_report(study, tmp_path / "elsewhere.html").parent == tmp_path
    with pytest.raises(PwactError, match=r"end in \.html"):
        write_report(study, study / "study.json", overwrite=True)
    with pytest.raises(PwactError, match="No such file"):
        write_report(study, tmp_path / "none" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(PwactError, match=r"folder\.html"):
        write_report(study, tmp_path / "folder.html", overwrite=True)


def broken(folder, what):
    builder.write(folder)
    arrays, record = folder / "arrays.nc", folder / "study.json"
    if what == "no study.json":
        record.unlink()
    elif what == "no arrays.nc":
        arrays.unlink()
    elif what == "truncated arrays":
        arrays.write_bytes(arrays.read_bytes()[:5000])
    elif what == "arrays of text":
        arrays.write_text("a,b\n1,2\n")
    elif what == "empty arrays":
        arrays.write_bytes(b"")
    elif what == "foreign netCDF":
        builder.arrays()["/p1"].to_dataset().to_netcdf(arrays, engine="h5netcdf")
    elif what == "other dimensions":
        tree = builder.arrays()
        tree["curves"] = xr.DataTree(tree["curves"].to_dataset().rename({"epoch": "step"}))
        tree.to_netcdf(arrays, engine="h5netcdf")
    elif what == "float images":
        tree = builder.arrays()
        tree["top/blocks.0.relu"]["image"] = tree["top/blocks.0.relu"]["image"].astype(float)
        tree.to_netcdf(arrays, engine="h5netcdf")
    elif what == "maps without firing":
        tree = builder.arrays()
        del tree["maps/blocks.0.relu"]["firing"]
        tree.to_netcdf(arrays, engine="h5netcdf")


@pytest.mark.parametrize(
    "what",
    [
        "no study.json",
        "no arrays.nc",
        "truncated arrays",
        "arrays of text",
        "empty arrays",
        "foreign netCDF",
        "other dimensions",
        "float images",
        "maps without firing",
    ],
)
def test_what_is_missing_damaged_or_foreign_is_one_clear_error(tmp_path, what):
    broken(tmp_path / "study", what)
    with pytest.raises(PwactError, match=r"study\.json|arrays\.nc|/curves|/top/|/maps/"):
        write_report(tmp_path / "study")
    assert not (tmp_path / "study" / "report.html").exists()


@pytest.mark.parametrize("other", ["arrays of another run", "arrays of no run", "record of no run"])
def test_two_runs_are_never_drawn_together(tmp_path, other):
    tree, record = builder.arrays(), builder.record()
    if other == "arrays of another run":
        tree.attrs["run_sha256"] = "77" * 32
    elif other == "arrays of no run":
        del tree.attrs["run_sha256"]
    else:
        record = replace(record, provenance={})
    builder.write(tmp_path / "study", record, tree)
    with pytest.raises(PwactError, match="of one run"):
        write_report(tmp_path / "study")
    assert not (tmp_path / "study" / "report.html").exists()


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(PwactError, match="no such folder"):
        write_report(tmp_path / "none")


def test_reports_need_no_jax():
    code = "import sys, pwact.report; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code]).returncode == 0
