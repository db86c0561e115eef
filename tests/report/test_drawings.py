"""Where marks lie on their axes, and which channels, classes and images are drawn."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pwact.records import Calibration, Control, Criterion, Interval, Verdict
from pwact.report import numbers, pictures, plots, points
from pwact.report.arrays import Maps, Series, Top, read_arrays

from . import builder


def hue(name):
    return "n0"


def verdict(*criteria, controls=()):
    return Verdict("P1", "A", "T", "undetermined", 0.5, 0.5, list(criteria), list(controls), "", "")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_few_round_numbers(values):
    axis = plots.axis(values)
    assert axis.low < min(values) and max(values) < axis.high
    assert 1 <= len(axis.ticks) <= 12
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_an_axis_of_nothing_or_of_one_value_still_has_a_width():
    for values in ([], [math.nan], [math.inf], [0.3], [0.0]):
        axis = plots.axis(values)
        assert axis.high > axis.low and axis.ticks


@pytest.mark.parametrize("bound, above", [("lower", True), ("upper", False)])
def test_the_shaded_range_is_where_the_rule_holds(bound, above):
    criterion = Criterion("x", "support", bound, 0.5, False, Interval(0.2, 0.0, 1.0), False)
    chart = plots.forest(verdict(criterion), hue)
    marks = {mark.kind: mark for mark in chart.groups[0][1][0].marks if mark.hue == "support"}
    zone, line = marks["zone"], marks["line"]
    assert (zone.x, zone.x2) == ((line.x, 100.0) if above else (0.0, line.x))
    ticks = {text: place for place, text in chart.ticks}
    assert ticks["0.4"] < line.x < ticks["0.6"]


def test_estimate_and_interval_lie_on_the_axis_that_is_drawn():
    criterion = Criterion("x", "refute", "lower", 0.0, True, Interval(0.4, 0.2, 0.8), True)
    chart = plots.forest(
        verdict(criterion, controls=[Control("x", "untrained", Interval(0.6, 0.4, 0.8))]), hue
    )
    ticks = {text: place for place, text in chart.ticks}
    for (_, rows), value in zip(chart.groups, (0.4, 0.6), strict=True):
        dot = next(mark for mark in rows[0].marks if mark.kind == "dot")
        span = next(mark for mark in rows[0].marks if mark.kind == "span")
        assert dot.x == ticks[numbers.tick(value)]
        assert span.x < dot.x < span.x2 == ticks["0.8"]


def test_controls_of_other_metrics_stand_apart():
    one, other = (Control(name, "untrained", Interval(0.6, 0.4, 0.8)) for name in ("x", "y"))
    criterion = Criterion("x", "support", "lower", 0.0, True, Interval(0.4, 0.2, 0.8), True)
    judged = verdict(criterion, controls=[one, other])
    assert [row.label for row in plots.forest(judged, hue).groups[-1][1]] == ["x, untrained"]
    assert [row.label for row in plots.further_controls(judged, hue).groups[0][1]] == ["y, untrained"]
    judged = verdict(criterion, controls=[other])
    assert [row.label for row in plots.forest(judged, hue).groups[-1][1]] == ["y, untrained"]
    assert plots.further_controls(judged, hue).groups == []


def test_calibration_shows_every_seed():
    record = Calibration("m", "P1", 1.0, 0.95, [0.9, 0.8, math.nan], [0.1], [], True, "")
    bag, relation = plots.calibration(record).groups[0][1]
    assert [mark.kind for mark in bag.marks] == ["seed", "seed", "line"]
    assert bag.value == "0.850" and relation.value == "0.100"
    assert bag.alt == "bag: 2 of 3 seeds, 0.850 over all, from 0.800 to 0.900"


def test_a_curve_is_the_mean_and_its_band_the_range_of_seeds():
    values = np.array([[[0.0, 1.0], [1.0, 3.0], [np.nan, np.nan]]])
    chart = plots.lines(Series("Loss", ["trained"], [1.0, 2.0], values), "epoch", hue)
    points_of = [tuple(map(float, pair.split())) for pair in chart.lines[0].path[1:].split("L")]
    y = {float(text): place for place, text in chart.y_ticks}
    assert points_of[-1][1] == pytest.approx(y[2.0], abs=0.06)  # written with one decimal
    band = [float(pair.split()[1]) for pair in chart.lines[0].band[1:-1].split("L")]
    assert (min(band), max(band)) == pytest.approx((y[3.0], y[0.0]), abs=0.06)
    assert chart.alt == "Loss by epoch, mean over seeds: trained from 0.500 to 2.000."


def test_a_track_tells_every_network_that_has_a_value_there():
    values = np.array([[[0.5, 0.1], [0.7, 0.1]], [[np.nan, 0.3], [np.nan, 0.3]]])
    chart = plots.by_place(Series("AII", ["trained", "untrained"], ["relu", "pool"], values), hue)
    said = [row.alt for row in chart.groups[0][1]]
    assert said == ["AII at relu: trained 0.600", "AII at pool: trained 0.100, untrained 0.300"]


def test_the_value_over_all_seeds_is_the_studys_own_and_missing_seeds_are_counted():
    values, pooled = np.array([[[0.2], [np.nan], [0.6]]]), np.array([[0.25]])
    series = Series("AII", ["untrained"], ["relu"], values, pooled)
    (row,) = plots.by_place(series, hue).groups[0][1]
    assert row.alt == "AII at relu: untrained 0.250 (2 of 3 seeds have one)"
    (row,) = plots.by_network(series, hue).groups[0][1]
    assert row.value == "0.250" and row.alt.startswith("untrained: 2 of 3 seeds, 0.250 over all")


def test_a_mean_over_images_counts_every_image_alike():
    values = np.array([[[0.0, 0.0, 0.0], [1.0, np.nan, np.nan]]])
    (row,) = plots.by_network(Series("Gini", ["trained"], [0.0, 1.0, 2.0], values), hue).groups[0][1]
    assert row.value == "0.250"


def test_networks_and_places_without_any_value_are_left_out(tmp_path):
    tree = builder.arrays()
    tree["p1"]["aii_i"][:, :, 1:] = np.nan
    tree["p1"]["aii_i"][2] = np.nan
    tree["p1"]["aii_s"][:] = np.nan
    (only,) = read_arrays(builder.write(tmp_path / "study", tree=tree) / "arrays.nc").p1
    assert only.networks == ["trained", "shuffled labels", "small receptive field"]
    assert only.x == ["blocks.0.relu"] and only.values.shape == (3, 10, 1)
    assert plots.by_network(only, hue).title.endswith("at blocks.0.relu")


def maps_of(classes=3, channels=4, size=5, seed=0):
    values = np.random.default_rng(seed).uniform(0, 1, (classes, size, size, channels))
    return Maps("relu", [f"c{i}" for i in range(classes)], values, values / 2)


def top_of(channels=4, ranks=3, box=(2.0, 4.0, 8.0, 10.0)):
    cell = (channels, ranks)
    image = np.zeros((*cell, 12, 12, 3), np.uint8)
    index = np.arange(channels * ranks).reshape(cell)
    boxes = np.broadcast_to(np.array(box), (*cell, 4)).copy()
    return Top("relu", np.ones(cell), index, np.full(cell, 1), np.full(cell, 2), image, boxes)


def test_the_channels_that_differ_most_between_classes_are_drawn():
    maps = maps_of(channels=40)
    maps.mean[...] = 0.0
    lively = list(range(3, 40, 1))[:30]
    for strength, channel in enumerate(lively):
        maps.mean[0, ..., channel] = 1.0 + strength
    drawn = points.site_pictures("relu", maps, None)
    assert [each.number for each in drawn.channels] == lively[-points.CHANNELS :]
    assert drawn.channels[drawn.first].number == lively[-1]
    assert drawn.total == 40


def test_more_classes_than_fit_are_counted():
    drawn = points.site_pictures("relu", maps_of(classes=23), None)
    assert drawn.classes_left_out == 3
    assert len(drawn.channels[0].strips[0].cells) == points.CLASSES


def test_a_map_tells_its_peak_and_its_mean():
    maps = maps_of(classes=1, channels=1)
    maps.mean[0, 3, 2, 0] = 7.0
    cell = points.site_pictures("relu", maps, None).channels[0].strips[0].cells[0]
    assert cell.alt.endswith("highest 7.000 at row 3, column 2")
    assert cell.value == numbers.number(float(maps.mean.mean()))


def test_a_negative_map_keeps_its_scale():
    maps = maps_of(classes=2, channels=1)
    maps.mean[...] = np.linspace(-2, 1, maps.mean.size).reshape(maps.mean.shape)
    strip = points.site_pictures("relu", maps, None).channels[0].strips[0]
    assert (strip.low, strip.high) == ("−2.000", "1.000")


def test_a_receptive_field_is_cut_at_the_image_and_unused_ranks_are_left_out():
    top = top_of(box=(-3.0, 4.0, 8.0, 20.0))
    top.index[0, 2] = -1
    top.value[0, 2] = np.nan
    shots = points.site_pictures("relu", maps_of(size=6), top).channels[0].shots
    assert len(shots) == 2
    assert shots[0].box == (4.0, 0.0, 8.0, 8.0)
    assert shots[0].centre == (5.0, 3.0)
    assert [shot.x for shot in shots] == [0, 12]


def test_dark_images_are_shown_up_to_white():
    top = top_of()
    top.image[0, 1] = 16
    top.image[0, 2] = 8
    address = points.site_pictures("relu", None, top).channels[0].images
    image = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    assert [image.getpixel((x, 0))[0] for x in (0, 12, 24)] == [0, 255, 128]


def test_without_maps_the_point_is_the_middle_of_its_receptive_field():
    drawn = points.site_pictures("relu", None, top_of())
    assert drawn.channels[0].shots[0].centre == (7.0, 5.0)
    assert drawn.size is None and drawn.overview == ""


def test_colours_follow_the_scale():
    address = pictures.colour_png(np.array([[0.0, 0.5, 1.0, 9.0, np.nan]]), 0.0, 1.0, "viridis")
    image = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA")
    pixels = [image.getpixel((x, 0)) for x in range(5)]
    assert pixels[0] == (68, 1, 84, 255) and pixels[2] == pixels[3] == (253, 231, 37, 255)
    assert pixels[4][3] == 0
    light = [pixel[1] for pixel in pixels[:3]]
    assert light == sorted(light)


def test_arrays_are_read_in_the_order_of_the_study(tmp_path):
    tree = builder.arrays()
    reordered = list(reversed(builder.SITES))
    tree["p1"] = xr.DataTree(tree["p1"].to_dataset().sel(site=reordered))
    folder = builder.write(tmp_path / "study", tree=tree)
    arrays = read_arrays(folder / "arrays.nc")
    assert list(arrays.maps) == list(arrays.top) == reordered
    expected = tree["maps/blocks.2.relu"]["mean"].values
    np.testing.assert_array_equal(arrays.maps["blocks.2.relu"].mean, expected.astype(float))


def test_sites_without_an_order_are_sorted_with_numbers_as_numbers(tmp_path):
    tree = builder.arrays()
    del tree["p1"]
    tree["maps/blocks.10.relu"] = xr.DataTree(tree["maps/blocks.0.relu"].to_dataset())
    arrays = read_arrays(builder.write(tmp_path / "study", tree=tree) / "arrays.nc")
    assert list(arrays.maps) == [*builder.SITES, "blocks.10.relu"]


def test_further_axes_become_charts_of_their_own(tmp_path):
    tree = builder.arrays()
    both = xr.concat([tree["p1"].to_dataset()] * 2, xr.Variable("fill", ["mean", "other image"]))
    tree["p1"] = xr.DataTree(both)
    arrays = read_arrays(builder.write(tmp_path / "study", tree=tree) / "arrays.nc")
    assert [each.title.split(", ")[-1] for each in arrays.p1] == ["mean", "other image"] * 2


def test_indices_of_one_site_need_no_site_axis(tmp_path):
    tree = builder.arrays()
    tree["p1"] = xr.DataTree(tree["p1"].to_dataset().isel(site=0, drop=True))
    arrays = read_arrays(builder.write(tmp_path / "study", tree=tree) / "arrays.nc")
    assert [each.values.shape for each in arrays.p1] == [(4, 10, 1)] * 2
