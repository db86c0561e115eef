"""Arms: trained once, kept by what they are, gone on with after a kill to the same bits."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from pwact.errors import PwactError
from pwact.experiments import (
    Setting,
    arms,
    base_config,
    base_recipe,
    digits_arm,
    digits_parts,
    identity,
    registry,
)
from pwact.models import ModelConfig, parameters
from pwact.objectives import Objective
from pwact.train import Intervention

SEEDS = (9800, 9801)
TINY = ModelConfig((8, 8, 1), 10, widths=(4,), strides=(2,), first_kernel_size=3, norm="none")


def tiny(name, **changes):
    return digits_arm(
        name, images=100, config=TINY, recipe=base_recipe(epochs=2, batch_size=50, **changes), test=None
    )


def silent(stage, done):
    pass


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with two trained arms, and what was trained."""
    folder = tmp_path_factory.mktemp("kept")
    setting = Setting("small", SEEDS, folder)
    return folder, setting, setting.train([tiny("plain"), tiny("slow", learning_rate=0.01)], silent)


def test_the_base_network_and_images_are_those_of_the_specifications():
    config = base_config()
    assert [shape[2] for shape in config.map_shapes] == [16, 32, 32]
    assert config.map_shapes[0][:2] == (4, 4), "one max-pool after the first convolution"
    # conv 3x3x1x16, conv 3x3x16x32, conv 3x3x32x32, dense 32x10, each with its biases.
    assert parameters(config) == (9 * 16 + 16) + (144 * 32 + 32) + (288 * 32 + 32) + (32 * 10 + 10)
    parts = digits_parts()
    assert (len(parts.train), len(parts.test)) == (1000, 697)
    assert not np.intersect1d(parts.train.index, parts.test.index).size
    few = digits_parts(200)
    assert len(few.train) == 200 and np.isin(few.train.index, parts.train.index).all()
    assert few.test.index_hash == parts.test.index_hash
    assert np.bincount(few.train.labels, minlength=10).min() >= 19
    assert len(digits_parts(1100).train) == 1100
    with pytest.raises(PwactError, match="1100"):
        digits_parts(1101)


def test_the_base_recipe_warms_up_and_clips():
    recipe = base_recipe()
    assert (recipe.optimizer, recipe.momentum, recipe.nesterov) == ("sgd", 0.9, False)
    assert recipe.warmup > 0 and recipe.schedule == "constant"
    assert recipe.clip_norm == 5.0 and recipe.weight_decay == 0.0
    assert base_recipe(epochs=3) == dataclasses.replace(recipe, epochs=3)


def test_arms_are_in_the_record(kept):
    _, setting, networks = kept
    assert list(networks) == ["plain", "slow"] and networks["plain"].seeds == SEEDS
    plain, slow = setting.trained
    assert (plain.name, plain.networks, plain.parameters) == ("plain", 2, 9 * 4 + 4 + 4 * 10 + 10)
    assert plain.configuration["recipe"]["learning_rate"] == 0.1
    assert slow.configuration["recipe"]["learning_rate"] == 0.01
    assert "100 images" in plain.configuration["data"]


def test_what_is_trained_is_read_again(kept, monkeypatch):
    folder, _, networks = kept
    there = sorted((folder / arms.NETWORKS).iterdir())
    taken = []
    monkeypatch.setattr("pwact.train.company.Company.steps", lambda *a: taken.append(a))
    again = Setting("small", SEEDS, folder).train([tiny("plain")], silent)
    assert not taken, "no step is taken again"
    assert sorted((folder / arms.NETWORKS).iterdir()) == there
    assert (
        np.asarray(again["plain"].variables["head"]["kernel"])
        == np.asarray(networks["plain"].variables["head"]["kernel"])
    ).all()


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": base_recipe(epochs=3)},
        {"config": dataclasses.replace(TINY, widths=(5,))},
        {"dataset": digits_parts(101).train},
        {"preprocess": None},
        {"options": {"treatment": "untrained"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_configuration_is_another_arm(other):
    arm = tiny("plain")
    one, two = (identity.configuration(each, SEEDS) for each in (arm, arm._replace(**other)))
    assert identity.digest(one) != identity.digest(two)
    assert identity.digest(one) == identity.digest(identity.configuration(tiny("another name"), SEEDS))
    assert identity.digest(one) != identity.digest(identity.configuration(arm, (9800,)))


def test_networks_of_other_code_are_not_taken_for_ones_of_this(monkeypatch):
    words = identity.configuration(tiny("plain"), SEEDS)
    before = identity.digest(words)
    monkeypatch.setattr(identity, "library_hash", lambda: "0" * 64)
    assert identity.digest(words) != before


def test_networks_of_other_settings_are_dropped_at_the_end(tmp_path):
    untrained = {"treatment": "untrained"}
    Setting("small", (9800,), tmp_path).train([tiny("old")._replace(options=untrained)], silent)
    setting = Setting("small", (9800,), tmp_path)
    setting.train([tiny("new")._replace(options=untrained)], silent)
    setting.drop_others()
    assert [path.name[:4] for path in (tmp_path / arms.NETWORKS).iterdir()] == ["new-"]


def test_code_of_ones_own_is_told_by_its_file():
    plain = identity.configuration(tiny("plain"), SEEDS)
    assert plain["own code"] == []

    @dataclasses.dataclass(frozen=True)
    class Mine:
        image_shape: tuple[int, int, int] = (8, 8, 1)

    def loss(outputs, label, valid, step):
        return outputs.sum()

    class Changed:
        def __call__(self, key, activation):
            return activation

    ways = [
        (Mine(),),
        (TINY, base_recipe(objective=Objective(loss))),
        (TINY, base_recipe(), (Intervention("blocks.0.relu", Changed()),)),
    ]
    found = [identity.sources(*way) for way in ways]
    assert len(found[0]) == 1 and found[0] == found[1] == found[2]
    typed_in = types.FunctionType(
        (lambda x: x + 1).__code__.replace(co_filename="<stdin>"), {"__name__": "m"}
    )
    assert len(identity.sources(typed_in)) == 1 and identity.sources(typed_in) != found[0]


def test_epochs_are_cut_for_tests_only(tmp_path):
    setting = Setting("small", (9800,), tmp_path, epochs=1)
    networks = setting.train([tiny("plain")], silent)["plain"]
    assert networks.recipe.epochs == 1 and networks.curves.sizes["epoch"] == 1


def test_arms_of_one_name_are_refused(tmp_path):
    setting = Setting("small", (9800,), tmp_path)
    with pytest.raises(PwactError, match="different names"):
        setting.train([tiny("plain"), tiny("plain", momentum=0.5)], silent)
    assert not (tmp_path / arms.NETWORKS).exists()


def test_progress_rises_from_start_to_end(tmp_path):
    said = []
    Setting("small", (9800,), None).train(
        [tiny("plain"), tiny("slow", learning_rate=0.01)],
        lambda stage, done: said.append((stage, done)),
        start=0.2,
        end=0.6,
    )
    shares = [done for _, done in said]
    assert shares == sorted(shares) and shares[0] == 0.2 and shares[-1] == pytest.approx(0.6)
    assert said[0][0] == "plain (1 of 2)" and "slow (2 of 2)" in dict(said)


KILLED = """
import pathlib, sys
from pwact.experiments import Outcome, per_seed, base_recipe, digits_arm, run_experiment
from tests.experiments import doubles, test_arms

def run(setting, progress):
    def slowly(stage, done):
        progress(stage, done)
        print(stage, flush=True)
    found = setting.train([test_arms.tiny("plain"), test_arms.tiny("slow", learning_rate=0.01)], slowly)
    return Outcome([per_seed(name, [float(abs(n.at(i)["head"]["kernel"][...]).sum()) for i in range(2)])
                    for name, n in found.items()])

run_experiment(doubles.experiment(run=run, criteria=(), claims=(), seeds=2), sys.argv[1])
"""


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_figures(tmp_path):
    home = registry.HOME.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(home)}

    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)],
            cwd=home,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    with start(tmp_path / "whole") as process:
        process.communicate()
    assert process.returncode == 0
    for said in (1, 3, 5):
        with start(tmp_path / "killed") as process:
            for _ in range(said):
                process.stdout.readline()
            time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
    with start(tmp_path / "killed") as process:
        process.communicate()
    assert process.returncode == 0
    tables = [(tmp_path / name / "tables" / "figures.csv").read_text() for name in ("whole", "killed")]
    assert tables[0] == tables[1] and "slow" in tables[0]
