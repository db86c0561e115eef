"""An experiment's page: whole, self-contained, escaped, and plain about what was missed or does not hold."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import replace

import pytest

from pwact.errors import PwactError
from pwact.experiment_record import (
    AnsweredClaim,
    Curve,
    CurveLine,
    ExperimentRecord,
    Figure,
    Judged,
    Part,
    Rule,
    Table,
    TrainedArm,
)
from pwact.records import Interval, write_record
from pwact.report import render_experiment, write_experiment_page
from pwact.report.experiment_page import track

from .test_report import EVIL, Tree

GAIN = Interval(0.02, 0.01, 0.03)
ACCURACY = Interval(0.95, 0.94, 0.96)


def record(**changes) -> ExperimentRecord:
    met = Judged(Rule("accuracy", ">=", 0.9, source="a pilot"), ACCURACY, True)
    missed = Judged(Rule("gain", ">=", 0.1, over="every seed"), GAIN, False)
    fields = dict(
        number=98,
        name="double",
        title="A double",
        paper="Nobody, Nowhere",
        claim="Numbers can be made up.",
        parts=[Part("the idea", "abstract"), Part("the numbers", "reconstruction", "all of them")],
        scale="small",
        seeds=[9800, 9801, 9802],
        seeds_specified=3,
        figures=[
            Figure("accuracy", "per seed", [0.94, 0.95, 0.96], ACCURACY, "on 697 images"),
            Figure("gain", "paired", [0.01, 0.02, 0.03], GAIN),
            Figure("undefined", "number", [math.nan], Interval(math.nan, math.nan, math.nan)),
        ],
        criteria=[met, missed],
        claims=[
            AnsweredClaim("It gains.", "abstract", "holds", [Judged(Rule("gain", ">", 0.0), GAIN, True)]),
            AnsweredClaim("It gains much.", "abstract", "does not hold", [missed]),
            AnsweredClaim("It may gain.", "abstract", "undecided", [missed]),
            AnsweredClaim("It scales.", "code", "not testable here", [], "too large"),
        ],
        tables=[Table("By arm", ["arm", "n", "mean"], [["plain", 3, 0.5], ["other", None, None]])],
        curves=[
            Curve(
                "Loss",
                "epoch",
                [1.0, 2.0],
                [
                    CurveLine("plain", [[2.0, 1.0], [2.2, math.nan]]),
                    CurveLine("one seed", [[1.5, 1.25]]),
                    CurveLine("never defined", [[math.nan, math.nan]]),
                ],
            )
        ],
        arms=[TrainedArm("plain", 3, 14410, 2.5, {"recipe": {"epochs": 2}, "seeds": [9800]})],
        notes=["made up"],
        provenance={"versions": "pwact=0", "seconds": 1.0},
    )
    return ExperimentRecord(**{**fields, **changes})


def page(**changes) -> Tree:
    return Tree(render_experiment(record(**changes)))


def test_missed_criteria_and_claims_that_do_not_hold_are_said_first():
    text = page().text
    first = text.partition("What must be met: fixed")[0]
    for words in (
        "1 of 2 criteria met",
        "It gains. This holds here.",
        "It gains much. This does not hold at this scale.",
        "It may gain. These data do not decide it",
        "It scales. This cannot be tested here.",
        "made up",
    ):
        assert words in first, words
    assert "too large" in text


def test_every_figure_with_its_values_and_its_rule():
    text = page().text
    assert "0.950 [0.940, 0.960] 0.940, 0.950, 0.960 met ≥ 0.9 in the mean" in text
    assert "0.020 [0.010, 0.030] 0.010, 0.020, 0.030 not met ≥ 0.1 in every seed" in text
    assert "≥ 0.9 in the mean; a pilot" in text
    assert "paired by seed" in text and "undefined undefined" in text


def test_lines_without_a_value_are_not_drawn():
    text = page().text
    assert "one seed" in text and "never defined" not in text


def test_fewer_seeds_than_specified_are_said():
    assert "Fewer seeds than the 5" in page(seeds_specified=5).text
    assert "Fewer seeds" not in page().text


def test_names_cannot_break_out():
    evil = record(
        title=EVIL,
        paper=EVIL,
        claim=EVIL,
        notes=[EVIL],
        parts=[Part(EVIL, "code", EVIL)],
        figures=[Figure(EVIL, "per seed", [0.1, 0.2, 0.3], GAIN, EVIL)],
        criteria=[Judged(Rule(EVIL, ">=", 0.1, source=EVIL), GAIN, False)],
        claims=[AnsweredClaim(EVIL, "code", "holds", [Judged(Rule(EVIL, ">", 0.0), GAIN, True)], EVIL)],
        tables=[Table(EVIL, [EVIL], [[EVIL]])],
        curves=[Curve(EVIL, EVIL, [1.0, 2.0], [CurveLine(EVIL, [[1.0, 2.0]])])],
        arms=[TrainedArm(EVIL, 1, 1, 1.0, {EVIL: EVIL})],
        provenance={EVIL: EVIL},
    )
    tree = Tree(render_experiment(evil))
    assert tree.all("script") == []
    for _, attributes, _ in tree.elements:
        assert not any(name.startswith("on") for name in attributes)
    assert tree.text.count("<script>alert('x')</script>") > 10


def test_it_needs_nothing_from_elsewhere():
    html = render_experiment(record())
    tree = Tree(html)
    assert not re.search(r"https?://|@import|url\(", html)
    css = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = next(each["content"] for each in tree.all("meta") if "http-equiv" in each)
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not any("style" in each for _, each, _ in tree.elements), "the policy lets no inline style in"


def test_every_link_leads_somewhere_and_every_drawing_is_said():
    tree = page()
    ids = {each["id"] for _, each, _ in tree.elements if each.get("id")}
    assert {each["href"].removeprefix("#") for each in tree.all("a")} <= ids
    drawings = [each for each in tree.all("svg") if "aria-hidden" not in each]
    assert drawings and all(each.get("aria-label") for each in drawings)


def test_an_experiment_that_measured_nothing_still_has_a_page():
    empty = dict(figures=[], criteria=[], claims=[], tables=[], curves=[], arms=[], notes=[], parts=[])
    text = page(**empty).text
    assert "It has no criterion to meet" in text and "No network was trained." in text


@pytest.mark.parametrize(
    ("rule", "zone"),
    [
        (Rule("a", ">=", 0.5), (0.5, math.inf)),
        (Rule("a", "<", 0.5), (-math.inf, 0.5)),
        (Rule("a", "between", 0.25, 0.75), (0.25, 0.75)),
    ],
)
def test_the_shaded_range_is_where_the_rule_is_met(rule, zone):
    figure = Figure("a", "per seed", [0.0, 1.0], Interval(0.5, 0.1, 0.9))
    rows = track(Judged(rule, figure.interval, rule.meets(0.5)), figure)
    marks = rows.groups[0][1][0].marks
    drawn = next(mark for mark in marks if mark.kind == "zone")
    # 0 and 1 are the lowest and the highest value drawn; the axis reaches 4 % of that further.
    at = [100 * (min(max(edge, -0.04), 1.04) + 0.04) / 1.08 for edge in zone]
    assert (drawn.x, drawn.x2) == pytest.approx(at, abs=0.01)
    assert len([mark for mark in marks if mark.kind == "seed"]) == 2


def test_the_page_is_written_from_the_record(tmp_path):
    write_record(record(), tmp_path / "experiment.json")
    path = write_experiment_page(tmp_path)
    assert path.read_text(encoding="utf-8") == render_experiment(record())
    elsewhere = write_experiment_page(tmp_path, tmp_path / "again.html")
    assert elsewhere.read_bytes() == path.read_bytes()
    with pytest.raises(PwactError, match="overwrite"):
        write_experiment_page(tmp_path)
    write_record(replace(record(), title="Another"), tmp_path / "experiment.json")
    assert "Another" in write_experiment_page(tmp_path, overwrite=True).read_text(encoding="utf-8")


def test_no_record_no_page(tmp_path):
    with pytest.raises(PwactError, match="an experiment"):
        write_experiment_page(tmp_path)
    assert list(tmp_path.iterdir()) == []
