"""The report in a real browser: a phone's width and a desk's, light and dark, on paper, by keyboard."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from pwact.report import write_report

from . import builder

pytestmark = pytest.mark.browser

WIDTHS = (360, 390, 1280)

# The least WCAG 2 contrast ratio of any text with what lies behind it, with the text.
CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((x) => x / 255)
    .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let worst = [99, ''], count = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !node.checkVisibility()) continue;
    const style = getComputedStyle(node), svg = node instanceof SVGElement;
    const pair = [light(rgba(svg ? style.fill : style.color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    count += 1;
    if (ratio < worst[0]) worst = [ratio, text];
  }
  return {worst, count};
})()"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(page, study, width):
    page.open(study / "report.html", width=width)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width


def test_long_names_break_instead_of_widening_the_page(page, tmp_path):
    long = "antidisestablishmentarianism" * 4
    base = builder.record()
    networks = [long if name == "trained" else name for name in builder.NETWORKS]
    study = builder.record(
        title=long,
        question=long,
        dataset={"name": long},
        configuration={long: long},
        summary=[long],
        limits=[long],
        networks=[replace(base.networks[0], name=long, description=long), *base.networks[1:]],
        calibration=[replace(each, metric=long, how=long) for each in base.calibration],
        verdicts=[
            replace(
                each,
                reading=long,
                title=long,
                explanation=long,
                criteria=[replace(criterion, name=long) for criterion in each.criteria],
                controls=[replace(control, metric=long, network=long) for control in each.controls],
            )
            for each in base.verdicts
        ],
    )
    folder = builder.write(tmp_path / "study", study, builder.arrays(networks, [long, *builder.CLASSES[1:]]))
    page.open(write_report(folder), width=360)
    wide = """[...document.body.querySelectorAll('*')]
      .filter(e => !e.closest('.scroll') && !e.ownerSVGElement && e.checkVisibility())
      .filter(e => e.getBoundingClientRect().right > 361).map(e => e.outerHTML.slice(0, 90))"""
    assert page.evaluate(wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_phone_shows_the_numbers_of_every_table_without_scrolling(page, study):
    """All of the rules' and checks' tables, and the networks' accuracy."""
    page.open(study / "report.html", width=390)
    numbers = """[...document.querySelectorAll('main table')].map(table => [
      table.closest('section').id,
      [...table.tBodies[0].rows].map(row => row.querySelector('td.n').getBoundingClientRect().right),
      [...table.tBodies[0].rows].map(row => row.lastElementChild.getBoundingClientRect().right)])"""
    tables = page.evaluate(numbers)
    assert sorted({section for section, _, _ in tables}) == ["calibration", "details", "networks"]
    for section, first, last in tables:
        assert max(first) <= 390, section
        assert section == "networks" or max(last) <= 390, section


def test_wide_tables_scroll_in_their_own_box(page, study):
    page.open(study / "report.html", width=360)
    wider = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(wider) > 0


@pytest.mark.parametrize("width", (390, 1280))
def test_it_asks_for_nothing_and_complains_of_nothing(page, study, width):
    page.open(study / "report.html", width=width)
    elsewhere = [url for url in page.requests if not url.startswith("data:")]
    assert elsewhere == [(study / "report.html").resolve().as_uri()]
    assert page.complaints == []


def test_its_policy_refuses_what_a_name_could_smuggle_in(page, study):
    page.open(study / "report.html", width=1280)
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.invalid/x.png\">')"
    )
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<style>body{display:none}</style>')")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b onclick=\"document.title=1\">x</b>')")
    page.evaluate("document.querySelector('b:last-of-type').click()")
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert page.evaluate("document.title") != "1"
    for directive in ("img-src", "style-src", "script-src"):
        assert any("Content Security Policy" in text and directive in text for text in page.complaints)


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (390, 1280))
def test_all_text_stands_out(page, study, scheme, width):
    page.open(study / "report.html", width=width, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = page.evaluate(CONTRAST)
    assert found["count"] > 300
    assert found["worst"][0] >= 4.5, found["worst"]


def test_dark_is_dark(page, study):
    corners = {}
    for scheme in ("light", "dark"):
        page.open(study / "report.html", width=390, scheme=scheme)
        image = Image.open(io.BytesIO(page.screenshot())).convert("L")
        assert len(image.getcolors()) > 30, "blank"
        corners[scheme] = image.getpixel((2, 2))
    assert corners["light"] > 230 and corners["dark"] < 40


def test_every_drawing_has_a_size(page, study):
    page.open(study / "report.html", width=390)
    empty = """[...document.querySelectorAll('svg[role=img]')].filter(e => e.checkVisibility())
      .filter(e => e.clientWidth < 20 || e.clientHeight < 12).map(e => e.getAttribute('aria-label'))"""
    assert page.evaluate(empty) == []


def test_a_channel_is_chosen_by_keyboard(page, study):
    page.open(study / "report.html", width=390)
    shown = """[...document.querySelectorAll('.picker')].map(
      e => [...e.querySelectorAll('.panel')].filter(p => p.checkVisibility())
        .map(p => p.querySelector('h4').innerText))"""
    before = page.evaluate(shown)
    assert [len(panels) for panels in before] == [1] * len(before) and before
    page.evaluate("document.querySelector('.picker input:checked').focus()")
    page.press("ArrowRight", 39)
    after = page.evaluate(shown)
    assert len(after[0]) == 1 and after[0] != before[0]
    assert after[1:] == before[1:]
    ring = "getComputedStyle(document.querySelector('label:has(:focus)')).outlineStyle"
    assert page.evaluate(ring) == "solid"


def test_paper_shows_what_the_screen_folds_away(page, study):
    folded = "[...document.querySelectorAll('#how details p')].map(e => e.checkVisibility())"
    page.open(study / "report.html", width=1280)
    assert not any(page.evaluate(folded))
    page.open(study / "report.html", width=1280, scheme="dark", media="print")
    assert all(page.evaluate(folded)) and page.evaluate(folded)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.evaluate("document.querySelector('nav').checkVisibility()")
    assert page.evaluate(CONTRAST)["worst"][0] >= 4.5
    assert page.pdf().startswith(b"%PDF")
