"""`pwact experiment`: its lines, its exit codes, its list, and where it goes on."""

from __future__ import annotations

import re

import pytest

from pwact import experiments
from pwact.experiment_record import read_experiment
from pwact.experiments import (
    Claim,
    Experiment,
    Outcome,
    Part,
    Rule,
    paired,
    per_seed,
    registry,
    run_experiment,
)

from .calls import main_fails, main_ok

GAIN = "accuracy, method - plain"


def measure(setting, progress):
    progress("counting", 0.5)
    steps = [0.25 * place for place in range(len(setting.seeds))]
    return Outcome([per_seed("loss", steps), paired(GAIN, [step + 0.5 for step in steps], steps)])


@pytest.fixture
def there(monkeypatch, tmp_path):
    """An empty folder to work in, and experiments 97, whose criterion is missed, and 98, whose is met."""

    def double(number, least):
        return Experiment(
            number=number,
            name="double",
            title="A double",
            paper="Nobody, Nowhere",
            claim="Numbers can be made up.",
            parts=(Part("the idea", "abstract"), Part("the numbers", "reconstruction")),
            criteria=(Rule(GAIN, ">=", least, source="a guess"),),
            claims=(Claim("The method gains.", "abstract", (Rule(GAIN, ">", 0),)),),
            first_seed=9800,
            seeds=3,
            run=measure,
        )

    all_of_them = {97: double(97, 0.75), 98: double(98, 0.25)}
    monkeypatch.setattr(registry, "modules", lambda: {number: e.stem for number, e in all_of_them.items()})
    monkeypatch.setattr(registry, "find", all_of_them.__getitem__)
    monkeypatch.setattr(experiments, "find", all_of_them.__getitem__)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_shows_defaults_and_an_example(capsys):
    main_ok(["experiment", "--help"])
    shown = capsys.readouterr().out
    assert re.search(r"Example:\s+pwact experiment 16", shown) and "default:" in shown


def test_every_figure_on_a_line_of_its_own_and_0_where_all_is_met(there, capsys):
    main_ok(["experiment", "98", "--out", "run"])
    lines = capsys.readouterr().out.splitlines()
    assert "        loss: 0.250 [−0.371, 0.871]" in lines
    assert f"met     {GAIN}: 0.500 [0.500, 0.500]  (>= 0.25 in the mean)" in lines
    assert "Claim holds: The method gains." in lines
    assert lines[-2:] == ["Its criterion met.", "Report: run/report.html"]
    assert read_experiment(there / "run").met and (there / "run" / "report.html").is_file()


def test_1_where_a_criterion_is_missed_with_everything_written(there, capsys):
    with pytest.raises(SystemExit) as left:
        from pwact.cli import main

        main(["experiment", "97", "--out", "run"])
    assert left.value.code == 1
    said = capsys.readouterr()
    assert f"MISSED  {GAIN}: 0.500 [0.500, 0.500]  (>= 0.75 in the mean)" in said.out.splitlines()
    assert said.err == ""
    assert not read_experiment(there / "run").met and (there / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["98", "--list"],
        ["96"],
        ["0"],
        ["sixteen"],
        ["98", "--scale", "huge"],
        ["98", "--scale", "full"],
        ["98", "--seeds", "0"],
        ["98", "--epochs", "3"],
    ],
    ids=" ".join,
)
def test_2_where_the_command_is_wrong_and_nothing_written(arguments, there, capsys):
    assert main_fails(["experiment", *arguments], capsys, code=2)
    assert list(there.iterdir()) == []


def test_an_unknown_number_says_which_there_are(there, capsys):
    assert "97, 98" in main_fails(["experiment", "96"], capsys, code=2)


def test_the_list_says_what_is_claimed_how_it_is_known_and_what_came_of_it(there, capsys):
    main_ok(["experiment", "--list"])
    assert capsys.readouterr().out.count("not run here yet") == 2
    main_ok(["experiment", "98", "--seeds", "2"])
    capsys.readouterr()
    main_ok(["experiment", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "97  double  [reconstruction]  Numbers can be made up."
    assert lines[1].strip() == "not run here yet"
    assert lines[3].strip() == "last: its criterion met, 2 seeds, scale small (runs/experiment-98-1)"


def test_the_list_of_all_that_there_is(capsys):
    main_ok(["experiment", "--list"])
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(registry.modules())


@pytest.mark.parametrize(("seeds", "said"), [(1, "1 seed, where"), (2, "2 seeds, where")])
def test_fewer_seeds_than_specified_are_said_with_the_outcome(seeds, said, there, capsys):
    main_ok(["experiment", "98", "--seeds", str(seeds), "--out", "run"])
    outcome = capsys.readouterr().out.splitlines()[-2]
    assert outcome == f"Its criterion met, but not judged as specified: {said} 3 are specified."


def test_more_seeds_than_specified_are_judged_as_ever(there, capsys):
    main_ok(["experiment", "98", "--seeds", "4", "--out", "run"])
    assert capsys.readouterr().out.splitlines()[-2] == "Its criterion met."


def test_finished_runs_are_kept_and_replaced_when_asked(there, capsys):
    main_ok(["experiment", "98", "--out", "run"])
    assert "--overwrite" in main_fails(["experiment", "98", "--out", "run"], capsys)
    main_ok(["experiment", "98", "--out", "run", "--overwrite", "--seeds", "2"])
    assert len(read_experiment(there / "run").seeds) == 2


def test_the_same_command_goes_on_in_its_own_folder(there, capsys, monkeypatch):
    def stops(setting, progress):
        raise KeyboardInterrupt

    stopped = experiments.find(98)
    for seeds in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            run_experiment(
                type(stopped)(**{**vars(stopped), "run": stops}),
                there / "runs" / f"experiment-98-{seeds}",
                seeds=seeds,
            )
    main_ok(["experiment", "98", "--seeds", "2"])
    assert "Going on in runs/experiment-98-2" in capsys.readouterr().out
    main_ok(["experiment", "98", "--seeds", "2"])
    assert (there / "runs" / "experiment-98-1" / "experiment.json").is_file()
    assert not (there / "runs" / "experiment-98-3" / "experiment.json").exists()


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(there, capsys, monkeypatch):
    def stops(setting, progress):
        raise KeyboardInterrupt

    stopped = type(experiments.find(98))(**{**vars(experiments.find(98)), "run": stops})
    monkeypatch.setattr(experiments, "find", lambda number: stopped)
    assert "run the same command again" in main_fails(["experiment", "98"], capsys, code=130)
