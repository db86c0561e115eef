"""What a person writes becomes factors, levels and cells, or one error that names it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pwact.data import bag, split
from pwact.errors import PwactError
from pwact.models import ModelConfig
from pwact.train import QUICK, Recipe
from pwact.train.grids.cells import cells_of
from pwact.train.grids.draft import Draft, with_corruption, with_images
from pwact.train.grids.factors import factors_of, parse_vary
from pwact.train.grids.fit import groups_of
from pwact.train.grids.hold import all_but, parse_hold
from pwact.train.grids.settings import applied, setting
from pwact.train.grids.values import shown, split_outside, typed

CONFIG = ModelConfig((24, 24, 1), 3, widths=(4, 8), strides=(4, 1), norm="none")


@pytest.fixture(scope="module")
def dataset():
    return split(bag(size=100), seed=0)["train"]


@pytest.fixture(scope="module")
def base(dataset):
    return Draft(CONFIG, QUICK, {}, len(dataset))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("f(x=1, y=(0,1)),g()", ["f(x=1, y=(0,1))", "g()"]),
        ("(1,2),(3,4)", ["(1,2)", "(3,4)"]),
        ("f('a,(b'),g", ["f('a,(b')", "g"]),
        ('{"a": [1, 2]},b', ['{"a": [1, 2]}', "b"]),
    ],
)
def test_lists_are_cut_at_commas_outside_brackets_and_quotes(text, parts):
    assert split_outside(text) == parts


@pytest.mark.parametrize("text", ["a,", ",a", "a,,b", "f(1,2", "f(1))", "'a", ""])
def test_a_list_that_is_no_list_is_refused(text):
    with pytest.raises(PwactError):
        split_outside(text)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (int, "16", 16),
        (int, 16.0, 16),
        (float, "1e-2", 0.01),
        (float, 1, 1.0),
        (bool, "true", True),
        (bool, False, False),
        (tuple[int, ...], "(16, 32)", (16, 32)),
        (tuple[int, ...], "16", (16,)),
        (tuple[int, ...], [16, 32], (16, 32)),
        (str | None, "none", None),
        (str | None, "flip()", "flip()"),
        (str, "none", "none"),
        (tuple[str | Recipe, ...], "(a(x=1, y=2), b())", ("a(x=1, y=2)", "b()")),
        (tuple[str | Recipe, ...], "a(x=1, y=2)", ("a(x=1, y=2)",)),
        (tuple[str | Recipe, ...], "none", ()),
        (tuple[str | Recipe, ...], "()", ()),
        (str | Recipe, QUICK, QUICK),
        (tuple[str | Recipe, ...], QUICK, (QUICK,)),
        (tuple[str | Recipe, ...], ["a()", QUICK], ("a()", QUICK)),
        (int, np.int64(3), 3),
        (Any, "3", 3),
        (Any, "a()", "a()"),
    ],
)
def test_a_value_is_read_by_the_annotation_of_its_field(kind, given, value):
    found = typed("field", kind, given)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (int, "16.0"),
        (int, "many"),
        (int, True),
        (int, 1.5),
        (float, "nan"),
        (float, float("inf")),
        (float, "fast"),
        (float, None),
        (bool, "yes"),
        (bool, 1),
        (tuple[int, int, int], "(1, 2)"),
        (tuple[int, ...], "(a, b)"),
        (str | Recipe, 3),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(kind, given):
    with pytest.raises(PwactError, match="field"):
        typed("field", kind, given)


def test_a_value_that_is_no_choice_lists_the_nearest(base):
    with pytest.raises(PwactError, match="nearest: average"):
        setting("pooling", base).value("averag")


def test_names_are_found_in_architecture_recipe_data_and_streams(base):
    homes = {
        "pooling": "architecture",
        "recipe.momentum": "recipe",
        "architecture.kernel_size": "architecture",
        "width": "shape",
        "depth": "shape",
        "images": "data",
        "corruption": "data",
        "order": "stream",
        "architecture": "whole",
    }
    assert {name: setting(name, base).home for name in homes} == homes


@dataclasses.dataclass(frozen=True)
class Own:
    """An architecture with fields that other things are called too."""

    image_shape: tuple[int, int, int] = (24, 24, 1)
    num_classes: int = 3
    width: int = 2
    dropout: float = 0.0

    def build(self, rngs, *, form="lax"):
        raise AssertionError("not needed here")


def test_a_name_that_means_two_things_is_refused_and_its_full_name_is_not():
    base = Draft(Own(), QUICK)
    with pytest.raises(PwactError, match=r"write architecture\.dropout or stream\.dropout"):
        setting("dropout", base)
    assert setting("architecture.dropout", base).home == "architecture"
    assert setting("stream.dropout", base).home == "stream"
    assert setting("width", base).home == "architecture", "a field of that name is what is meant"
    with pytest.raises(PwactError, match="depth"):
        setting("depth", base)


@dataclasses.dataclass(frozen=True)
class Narrow(Own):
    """An architecture that cannot run where it is too narrow, and says it in its own way."""

    def build(self, rngs, *, form="lax"):
        if self.width < 2:
            raise ValueError("too narrow")
        return ModelConfig(self.image_shape, self.num_classes, widths=(self.width,), strides=(4,)).build(rngs)


def test_a_network_that_cannot_run_is_found_before_anything_is_trained(dataset):
    base = Draft(Narrow(), QUICK, {}, len(dataset))
    cells = cells_of(factors_of({"width": [2, 3]}, base, "grid"), base, dataset, "grid")
    assert [cell.draft.config.width for cell in cells] == [2, 3]
    with pytest.raises(PwactError, match=r"a level of width.*width=1: ValueError: too narrow"):
        cells_of(factors_of({"width": [2, 1]}, base, "grid"), base, dataset, "grid")


def test_width_scales_all_blocks_and_depth_drops_or_repeats_them(base):
    width, depth = setting("width", base), setting("depth", base)
    assert applied(base, {width: 2}).config.widths == (2, 4)
    deep = applied(base, {depth: 4, width: 8}).config
    assert (deep.widths, deep.strides) == ((8, 16, 16, 16), (4, 1, 1, 1))
    assert applied(base, {depth: 1}).config.widths == (4,)
    assert (width.read(base), depth.read(base)) == (4, 2)
    odd = Draft(dataclasses.replace(CONFIG, widths=(4, 6)), QUICK)
    with pytest.raises(PwactError, match="multiples of 2"):
        applied(odd, {width: 3})


def test_fewer_images_are_a_part_of_more_with_classes_in_their_shares(dataset):
    few, more = with_images(dataset, 30), with_images(dataset, 60)
    assert set(few.index.tolist()) < set(more.index.tolist()) < set(dataset.index.tolist())
    share = np.bincount(dataset.labels) / len(dataset)
    assert np.abs(np.bincount(few.labels) - 30 * share).max() <= 1
    assert with_images(dataset, len(dataset)) is dataset


def test_a_corrupted_part_is_the_same_images_seen_through_the_corruption(dataset):
    foggy = with_corruption(with_images(dataset, 9), "contrast(severity=5)")
    assert foggy.index.tolist() == with_images(dataset, 9).index.tolist()
    assert (foggy.read([0]).image != dataset.whole.read(foggy.index[:1]).image).any()
    assert with_corruption(dataset, None) is dataset


def test_a_grid_is_every_combination_and_one_at_a_time_is_the_base_and_each_other_level(dataset, base):
    vary = {"norm": ["batch", "group"], "width": [8, 2]}
    names = [cell.name for cell in cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")]
    assert names == [
        "norm=batch,width=8",
        "norm=batch,width=2",
        "norm=group,width=8",
        "norm=group,width=2",
    ]
    mode = "one_at_a_time"
    factors = factors_of(vary | {"order": [5]}, base, mode)
    assert [factor.labels for factor in factors] == [("none", "batch", "group"), (4, 8, 2), ("seed", "5")]
    cells = cells_of(factors, base, dataset, mode)
    assert [cell.name for cell in cells] == [
        "norm=none,width=4,order=seed",
        "norm=batch,width=4,order=seed",
        "norm=group,width=4,order=seed",
        "norm=none,width=8,order=seed",
        "norm=none,width=2,order=seed",
        "norm=none,width=4,order=5",
    ]
    assert cells[0].draft == base, "nothing but the factor changes"
    assert cells[-1].draft == dataclasses.replace(base, streams={"order": 5})


def test_the_bases_own_level_comes_first_where_one_thing_varies_at_a_time(base):
    (factor,) = factors_of({"norm": ["batch", "none", "group"]}, base, "one_at_a_time")
    assert factor.labels == ("none", "batch", "group")


def test_fields_that_only_fit_together_vary_together(dataset, base):
    vary = {"widths": ["(4, 8, 8)"], "strides": ["(4, 1, 1)"]}
    (cell,) = cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")
    assert cell.draft.config.map_shapes[-1] == (6, 6, 8)


def test_an_architecture_is_a_factor_too_and_its_fields_vary_with_it(dataset, base):
    vary = {"architecture": ["quick", "small_receptive_field"], "kernel_size": ["3", "1"]}
    cells = cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")
    assert [(cell.draft.config.first_kernel_size, cell.draft.config.kernel_size) for cell in cells] == [
        (5, 3),
        (5, 1),
        (9, 3),
        (9, 1),
    ]


def test_cells_that_differ_in_numbers_and_streams_train_together(dataset, base):
    vary = {"norm": ["none", "batch"], "learning_rate": [0.1, 0.2], "order": [0, 1]}
    cells = cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")
    assert [len(group) for group in groups_of(cells)] == [4, 4]
    other = {"epochs": [1, 2], "images": [70, 80], "corruption": ["none", "fog"]}
    cells = cells_of(factors_of(other, base, "grid"), base, dataset, "grid")
    assert [len(group) for group in groups_of(cells)] == [1] * 8


def test_a_cells_name_is_safe_and_tells_cells_apart(dataset, base):
    vary = {"objective": ["cross_entropy(label_smoothing=0.1)", "cross_entropy(label_smoothing=0.2)"]}
    names = [cell.name for cell in cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")]
    assert len(set(names)) == 2
    assert all(not set(name) & set("()/ '\"") and len(name) <= 100 for name in names)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "at least one factor"),
        ({"wdith": [1]}, "nearest: width"),
        ({"recipe.momentun": [1]}, "nearest: recipe.momentum"),
        ({"norm": []}, "a list of levels of norm"),
        ({"norm": "batch"}, "a list of levels of norm"),
        ({"norm": ["none", "bacth"]}, "nearest: batch"),
        ({"momentum": ["0.9", "0.90"]}, "different levels of momentum"),
        ({"objective": ["cross_entropy", "cross_entropy()"]}, "different levels of objective"),
        ({"width": [4], "widths": ["(2, 4)"]}, "both set architecture.widths"),
        ({"norm": ["none"], "architecture.norm": ["batch"]}, "each factor once"),
        ({"strides": ["(1, 2, 3)"]}, "a level of strides"),
        ({"image_shape": ["(8, 8, 1)"]}, "a level of image_shape"),
        ({"num_classes": [3, 4]}, "a level of num_classes"),
        ({"learning_rate": [-1.0]}, "a level of learning_rate"),
        ({"images": [81]}, "a level of images"),
        ({"images": [0]}, "a level of images"),
        ({"images": [80, 32]}, "no more images a step than the 32"),
        ({"batch_size": [64, 100]}, "a level of batch_size"),
        ({"corruption": ["fgo"]}, "nearest: fog"),
        ({"corruption": ["fog(severity=9)"]}, "severity"),
        ({"architecture": ["quik"]}, "nearest: quick"),
        ({"order": [-1]}, "seed"),
        ({"depth": [0]}, "at least one block"),
        ({"strides": ["(24, 24)"], "pooling": ["max"]}, "at least one point after strides"),
    ],
)
def test_what_cannot_vary_is_one_error_that_names_it(vary, message, dataset, base):
    with pytest.raises(PwactError, match=message.replace("(", r"\(").replace(")", r"\)")):
        cells_of(factors_of(vary, base, "grid"), base, dataset, "grid")


def test_what_is_wrong_with_the_base_is_not_said_of_a_factor(dataset, base):
    large = dataclasses.replace(base, recipe=Recipe(batch_size=100))
    with pytest.raises(PwactError, match=r"^expected no more images a step"):
        cells_of(factors_of({"norm": ["batch"]}, large, "grid"), large, dataset, "grid")
    (cell,) = cells_of(factors_of({"batch_size": [80]}, large, "grid"), large, dataset, "grid")
    assert cell.draft.recipe.batch_size == 80, "a factor may put it right"


def test_a_held_stream_does_not_vary(dataset):
    held = Draft(CONFIG, QUICK, {"order": 0}, len(dataset))
    with pytest.raises(PwactError, match="order to vary or to be held"):
        factors_of({"order": [1]}, held, "grid")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["norm=none", "norm=batch"], "norm twice"),
        (["norm"], "NAME=VALUE"),
        (["norm="], "levels of norm"),
        (["=none"], "NAME=VALUE"),
        (["objective=f(1,2"], "brackets"),
    ],
)
def test_a_command_that_is_not_name_and_levels_is_refused(texts, message):
    with pytest.raises(PwactError, match=message):
        parse_vary(texts)


def test_streams_are_held_by_name_and_all_but_one():
    assert parse_hold(["order=3"]) == {"order": 3}
    assert all_but("order", {"labels": 4}) == {
        "initialisation": 0,
        "augmentation": 0,
        "dropout": 0,
        "labels": 4,
    }
    for wrong in (["order=1", "order=2"], ["ordr=1"], ["order=x"], ["order=-1"]):
        with pytest.raises(PwactError):
            parse_hold(wrong)
    with pytest.raises(PwactError, match="both"):
        all_but("order", {"order": 1})


def test_values_are_shown_as_a_person_writes_them():
    assert [shown(value) for value in (3, 0.5, "a", None, (), (1, 2), ("f()", "g()"), True)] == [
        3,
        0.5,
        "a",
        "none",
        "none",
        "(1, 2)",
        "f() + g()",
        "True",
    ]


class Alike:
    """Two of one class, which nothing but their content tells apart, and that is not shown."""

    def __init__(self, strength: float):
        self.strength = strength

    def __repr__(self) -> str:
        return "Alike"


@pytest.mark.parametrize("mode", ["grid", "one_at_a_time"])
def test_two_levels_that_would_have_one_name_are_refused(base, mode):
    with pytest.raises(PwactError, match="2 called Alike; give them names that differ"):
        factors_of({"objective": [Alike(0.1), Alike(0.2)]}, base, mode)
