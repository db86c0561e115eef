"""A study as JSON: nothing is lost, nothing damaged is taken for a study, nothing half-written stays."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.records import (
    Calibration,
    Criterion,
    Interval,
    Network,
    PlantedCheck,
    StudyRecord,
    Verdict,
    from_json,
    read_record,
    to_json,
    write_record,
)


@pytest.fixture
def record():
    interval = Interval(0.5, 0.25, 0.75)
    criterion = Criterion("Gini", "support", "lower", 0.6, False, interval, False)
    return StudyRecord(
        title="Größe → <b>",
        question="?",
        preset="quick",
        dataset={"name": "digits", "image_shape": [8, 8, 1], "empty": None},
        configuration={"p1": {"aii": 0.5}},
        summary=["one", "two"],
        networks=[Network("trained", "", 10, "test", interval, 1234, 1.5)],
        calibration=[
            Calibration(
                "AII", "P1", 1.0, 0.95, [0.9], [0.1], [PlantedCheck("sum", "1", 1.0, True)], True, "so"
            )
        ],
        verdicts=[Verdict("P4", "B", "Concentration", "refuted", 0.5, 1.0, [criterion], [], "because", "so")],
        limits=["small"],
        provenance={"seed": 0},
    )


def test_what_is_written_is_read(record, tmp_path):
    path = write_record(record, tmp_path / "study.json")
    assert read_record(path) == record
    assert [each.name for each in tmp_path.iterdir()] == ["study.json"]


def test_the_text_is_strict_json(record):
    undefined = replace(record.networks[0], accuracy=Interval(math.nan, 0.0, 1.0))

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    data = json.loads(to_json(replace(record, networks=[undefined])), parse_constant=refuse)
    assert data["networks"][0]["accuracy"]["estimate"] is None


def test_an_undefined_number_stays_undefined(record):
    undefined = replace(record.networks[0], accuracy=Interval(math.nan, math.nan, 1.0))
    back = from_json(to_json(replace(record, networks=[undefined]))).networks[0].accuracy
    assert math.isnan(back.estimate) and math.isnan(back.low) and back.high == 1.0


def test_numpy_scalars_become_numbers(record):
    record = replace(record, configuration={"seeds": np.int32(3), "rate": np.float64(0.5), "on": np.True_})
    assert from_json(to_json(record)).configuration == {"seeds": 3, "rate": 0.5, "on": True}


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, np.zeros(2), {1: 2}, b"bytes", {"deep": [object()]}]
)
def test_what_json_cannot_hold_is_refused_with_its_place(record, value):
    with pytest.raises(PwactError, match=r"study\.configuration\.here"):
        to_json(replace(record, configuration={"here": value}))


def test_an_infinite_measurement_is_refused(record):
    network = replace(record.networks[0], seconds=math.inf)
    with pytest.raises(PwactError, match=r"study\.networks\[0\]\.seconds"):
        to_json(replace(record, networks=[network]))


def damaged(record):
    text = to_json(record)
    data = json.loads(text)
    yield "empty", ""
    yield "truncated", text[: len(text) // 2]
    yield "another thing", "[1, 2]"
    yield "no schema", "{}"
    yield "newer", json.dumps(data | {"schema": 2})
    yield "missing field", json.dumps({name: value for name, value in data.items() if name != "limits"})
    yield "unknown field", json.dumps(data | {"extra": 1})
    yield "wrong type", json.dumps(data | {"summary": "one line"})
    yield "wrong item", json.dumps(data | {"summary": [1]})
    yield "unknown verdict", text.replace('"refuted"', '"maybe"')
    yield "NaN", text.replace("0.25", "NaN")
    yield "overflow", text.replace("0.25", "1e999")
    yield "bool for number", text.replace("0.25", "true")
    yield "number for bool", text.replace('"met": false', '"met": 0')
    yield "deep", "[" * 100_000


def test_damaged_and_foreign_text_is_refused(record):
    for name, text in damaged(record):
        with pytest.raises(PwactError, match="the file"):
            raise AssertionError(f"{name}: taken for {from_json(text, 'the file')}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"PK\x03\x04"])
def test_a_file_that_is_none_or_binary_is_refused(tmp_path, content):
    path = tmp_path / "study.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PwactError, match=r"study\.json"):
        read_record(path)


def test_no_space_leaves_the_old_file_and_nothing_else(record, tmp_path, monkeypatch):
    path = write_record(record, tmp_path / "study.json")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PwactError, match="No space left"):
        write_record(replace(record, title="new"), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["study.json"]


def test_a_folder_that_is_missing_is_said(record, tmp_path):
    with pytest.raises(PwactError, match="No such file"):
        write_record(record, tmp_path / "none" / "study.json")


@pytest.mark.parametrize(
    "bound, strict, rule", [("lower", True, "lower bound > 0.1"), ("upper", False, "upper bound <= 0.1")]
)
def test_a_rule_is_said_from_its_own_numbers(bound, strict, rule):
    assert Criterion("x", "refute", bound, 0.1, strict, Interval(0.2, 0.1, 0.3), False).rule == rule
