"""A run's folder: what is written is read, nobody's files are touched, what is damaged is refused."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pwact import experiments
from pwact.errors import PwactError
from pwact.experiment_record import RECORD, ExperimentRecord, read_experiment
from pwact.experiments import begins_with, find, last_results, registry, run_experiment
from pwact.experiments.folder import BEGUN, run_folder, unfinished
from pwact.records import from_json, to_json, write_record

from . import doubles


@pytest.fixture
def done(tmp_path):
    """A finished run."""
    run_experiment(doubles.experiment(), tmp_path / "run")
    return tmp_path / "run"


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_written_is_read(tmp_path):
    record = run_experiment(doubles.experiment(), tmp_path / "run")
    assert read_experiment(tmp_path / "run") == record
    assert record.seeds == [9800, 9801, 9802] and record.met
    assert record.sentence == "3 of 3 criteria met"
    assert [each.answer for each in record.claims] == ["holds", "not testable here"]
    assert record.notes == ["made up"]
    assert record.provenance["command"] == "pwact experiment 98 --scale small --seeds 3"


def test_undefined_figures_survive_the_file(tmp_path):
    def run(setting, progress):
        found = doubles.outcome(setting)
        return found._replace(figures=[*found.figures, experiments.number("no answer", math.nan)])

    run_experiment(doubles.experiment(run=run), tmp_path / "run")
    figure = read_experiment(tmp_path / "run").figures[-1]
    assert math.isnan(figure.values[0]) and math.isnan(figure.interval.low)


def test_a_missed_criterion_is_on_record(tmp_path):
    high = replace(doubles.experiment(), criteria=(experiments.Rule(doubles.GAIN, ">=", 0.2),))
    record = run_experiment(high, tmp_path / "run")
    assert not record.met and record.sentence == "its criterion missed"


def test_tables_for_other_tools(done):
    figures = rows(done / "tables" / "figures.csv")
    assert [(row["seed"], float(row["value"])) for row in figures[:3]] == [
        ("9800", 0.9),
        ("9801", 0.901),
        ("9802", 0.902),
    ]
    assert figures[-1] == {"figure": "graphs that agree", "kind": "number", "seed": "", "value": "20.0"}
    assert len(rows(done / "tables" / "curves.csv")) == 6
    assert rows(done / "tables" / "01-accuracy-by-arm.csv")[1] == {"arm": "plain", "mean": ""}


def test_seeds_go_on_from_the_first(tmp_path):
    assert begins_with(doubles.experiment(), seeds=5)["seeds"] == [9800, 9801, 9802, 9803, 9804]
    record = run_experiment(doubles.experiment(), tmp_path / "run", seeds=1)
    assert record.seeds == [9800] and record.seeds_specified == 3
    assert math.isnan(record.figures[0].interval.low)


def test_a_finished_run_is_kept_until_it_is_to_be_replaced(done):
    before = (done / RECORD).read_text()
    with pytest.raises(PwactError, match="finished"):
        run_experiment(doubles.experiment(), done)
    assert (done / RECORD).read_text() == before
    (done / "mine.txt").write_text("notes")
    record = run_experiment(doubles.experiment(), done, seeds=2, overwrite=True)
    assert read_experiment(done) == record and len(record.seeds) == 2
    assert (done / "mine.txt").read_text() == "notes"


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(PwactError, match="other files"):
            run_experiment(doubles.experiment(), tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_of_other_seeds_is_not_gone_on_with(tmp_path):
    def fails(setting, progress):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_experiment(doubles.experiment(run=fails), tmp_path / "run")
    with pytest.raises(PwactError, match=r"9800, 9801;? found 9800, 9801, 9802"):
        run_experiment(doubles.experiment(), tmp_path / "run", seeds=2)
    with pytest.raises(PwactError, match="e97_double"):
        run_experiment(doubles.experiment(number=97), tmp_path / "run")
    run_experiment(doubles.experiment(), tmp_path / "run")


def test_ctrl_c_says_how_to_go_on(tmp_path):
    def stops(setting, progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"kept in .*make the same call again"):
        run_experiment(doubles.experiment(run=stops), tmp_path / "run")
    assert not (tmp_path / "run" / RECORD).exists()


def test_unfinished_finds_the_run_to_go_on_with(tmp_path):
    for place, (seeds, finished) in enumerate([(3, True), (2, False), (3, False), (3, False)], 1):
        folder = tmp_path / f"experiment-98-{place}"
        with run_folder(folder, begins_with(doubles.experiment(), seeds=seeds)):
            pass
        if finished:
            (folder / RECORD).write_text("{}")
    wanted = begins_with(doubles.experiment())
    assert unfinished(tmp_path, "experiment-98", wanted) == tmp_path / "experiment-98-3"
    assert unfinished(tmp_path, "experiment-97", wanted) is None


def test_a_torn_begin_is_refused(tmp_path):
    (tmp_path / BEGUN).write_text('{"experiment": "e98')
    with pytest.raises(PwactError, match="damaged"):
        run_experiment(doubles.experiment(), tmp_path)
    assert run_experiment(doubles.experiment(), tmp_path, overwrite=True).met
    assert json.loads((tmp_path / BEGUN).read_text()) == begins_with(doubles.experiment())


def test_one_process_at_a_time(tmp_path):
    with run_folder(tmp_path / "run", begins_with(doubles.experiment())):
        script = (
            "import sys, pathlib\n"
            "from pwact.errors import PwactError\n"
            "from pwact.experiments.folder import run_folder\n"
            "try:\n"
            "    with run_folder(pathlib.Path(sys.argv[1]), {}):\n"
            "        print('entered')\n"
            "except PwactError as error:\n"
            "    print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "run")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(registry.HOME.parent.parent)},
        ).stdout
    assert "one process at a time" in said


def test_a_torn_record_is_refused(done):
    path = done / RECORD
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    with pytest.raises(PwactError, match=r"an experiment as strict JSON.*run the experiment again"):
        read_experiment(done)


def test_a_foreign_record_is_refused(done):
    fields = json.loads((done / RECORD).read_text())
    for change, words in [
        ({"schema": 0}, "schema 0"),
        ({"figures": [{"name": "a"}]}, r"experiment.figures\[0\]"),
        ({"number": "16"}, "'16'"),
        ({"claims": [*fields["claims"][:1], fields["claims"][1] | {"answer": "proved"}]}, "proved"),
    ]:
        (done / RECORD).write_text(json.dumps(fields | change))
        with pytest.raises(PwactError, match=words):
            read_experiment(done)
    with pytest.raises(PwactError, match="to have"):
        from_json(json.dumps({"schema": 1, "title": "a study"}), kind=ExperimentRecord)


def test_an_infinite_note_in_the_configuration_is_refused(done):
    record = replace(read_experiment(done), provenance={"seconds": math.inf})
    with pytest.raises(PwactError, match=r"experiment\.provenance\.seconds"):
        to_json(record)


def test_a_scale_that_is_not_there(tmp_path):
    with pytest.raises(PwactError, match="small"):
        run_experiment(doubles.experiment(), tmp_path / "run", scale="full")
    assert not (tmp_path / "run").exists()


def test_all_experiments_are_what_their_files_say():
    found = experiments.everything()
    assert [each.number for each in found] == sorted({each.number for each in found})
    for each in found:
        named = [rule.figure for rule in each.criteria]
        assert each.parts and each.claim and each.paper, f"{each.stem} lacks its description"
        assert len(set(zip(named, each.criteria, strict=True))) == len(named), f"{each.stem}: a rule twice"
        assert all(rule.source for rule in each.criteria), f"{each.stem}: say where the thresholds are from"


def test_an_unknown_number_and_files_that_lie(monkeypatch, tmp_path):
    with pytest.raises(PwactError, match="--list"):
        find(99)
    for name in ("e97_one.py", "e97_two.py", "helper.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(registry, "HOME", tmp_path)
    with pytest.raises(PwactError, match="e97_one and e97_two"):
        registry.modules()
    (tmp_path / "e97_two.py").unlink()
    assert registry.modules() == {97: "e97_one"}
    monkeypatch.setattr(registry.importlib, "import_module", lambda name: doubles)
    monkeypatch.setattr(doubles, "EXPERIMENT", doubles.experiment(), raising=False)
    with pytest.raises(PwactError, match="e98_double"):
        find(97)


def test_the_last_result_is_the_newest_whole_one(done):
    runs = done.parent
    record = read_experiment(done)
    for place, name in enumerate(["newer", "torn", "older"]):
        (runs / name).mkdir()
        write_record(replace(record, notes=[name]), runs / name / RECORD)
        os.utime(runs / name / RECORD, (2e9 - place, 2e9 - place))
    (runs / "torn" / RECORD).write_text("{")
    os.utime(runs / "torn" / RECORD, (3e9, 3e9))
    folder, found = last_results(runs)[98]
    assert folder == runs / "newer" and found.notes == ["newer"]
