"""What is saved comes back bit by bit; what is broken, other or unfinished is refused."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from pwact.errors import PwactError
from pwact.train import Intervention, company, load_checkpoint, predict, save_checkpoint, train
from pwact.train import checkpoint as module


def equal(one, other):
    same_tree = jax.tree.structure(one.variables) == jax.tree.structure(other.variables)
    pairs = zip(jax.tree.leaves(one.variables), jax.tree.leaves(other.variables), strict=True)
    return same_tree and all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def saved(trained, tmp_path):
    return save_checkpoint(tmp_path / "saved", trained)


def test_everything_comes_back(trained, parts, saved):
    found = load_checkpoint(saved, config=trained.config)
    assert equal(found, trained)
    assert found.curves.identical(trained.curves)
    np.testing.assert_array_equal(found.labels, trained.labels)
    for name in ("config", "recipe", "treatment", "seeds", "preprocess", "data", "seconds", "interventions"):
        assert getattr(found, name) == getattr(trained, name)
    np.testing.assert_array_equal(predict(found, parts["test"]), predict(trained, parts["test"]))


def test_the_record_is_json_that_a_person_can_read(trained, saved):
    record = json.loads((saved / "checkpoint.json").read_text())
    assert record["config"]["widths"] == [4, 6]
    assert record["seeds"] == [3, 5, 8]


def test_untrained_networks_are_saved_too(config, parts, recipe, tmp_path):
    untrained = train(
        config, parts["train"], seeds=[1], recipe=recipe, treatment="untrained", folder=tmp_path / "run"
    )
    assert equal(load_checkpoint(tmp_path / "run"), untrained)


def test_an_existing_folder_is_refused_unless_overwritten(trained, saved):
    with pytest.raises(PwactError, match="overwrite=True"):
        save_checkpoint(saved, trained)
    other = dataclasses.replace(trained, seconds=1.5)
    save_checkpoint(saved, other, overwrite=True)
    assert load_checkpoint(saved).seconds == 1.5
    assert len(list(saved.iterdir())) == 2, "one record, one folder of arrays"


def test_overwrite_never_touches_a_folder_of_something_else(trained, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PwactError, match="a checkpoint to replace"):
        save_checkpoint(tmp_path, trained, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_configuration_is_refused_and_the_difference_named(trained, saved):
    other = dataclasses.replace(trained.config, norm="layer", kernel_size=5)
    with pytest.raises(PwactError, match="kernel_size=3, not 5, norm='batch', not 'layer'"):
        load_checkpoint(saved, config=other)


def test_no_checkpoint(tmp_path):
    with pytest.raises(PwactError, match="a checkpoint folder"):
        load_checkpoint(tmp_path / "nothing")


def test_every_file_that_is_cut_short_or_gone_is_noticed(saved, tmp_path):
    files = [path.relative_to(saved) for path in saved.rglob("*") if path.is_file()]
    assert len(files) > 3
    for file in files:
        for keep in (0.5, None):
            copy = tmp_path / "copy"
            shutil.copytree(saved, copy)
            content = (copy / file).read_bytes()
            if keep is None:
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(content[: int(len(content) * keep)])
            with pytest.raises(PwactError, match=r"readable checkpoint.*broken|a checkpoint folder"):
                load_checkpoint(copy)
            shutil.rmtree(copy)


def test_a_flipped_byte_in_the_arrays_is_noticed(saved):
    largest = max((path for path in saved.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    broken = bytearray(largest.read_bytes())
    broken[len(broken) // 2] ^= 0x10
    largest.write_bytes(broken)
    with pytest.raises(PwactError, match="broken"):
        load_checkpoint(saved)


def test_no_room_on_the_disk_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing: Failed to write: No space left on device")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(PwactError, match=r"No space left on device; make room"):
        save_checkpoint(tmp_path / "run", trained)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system has no limit on the size of a file")
def test_a_write_that_fails_midway_says_one_thing_and_keeps_the_old_checkpoint(tmp_path):
    program = """
import resource, sys
from pwact.data import bag
from pwact.errors import PwactError
from pwact.models import ModelConfig
from pwact.train import load_checkpoint, save_checkpoint, train
config = ModelConfig((20, 20, 1), 3, widths=(16, 16, 16), strides=(2, 1, 1))
trained = train(config, bag(size=60, image_size=20), seeds=range(6), treatment="untrained")
save_checkpoint("kept", trained)
for limit in (300, 20_000, 40_000):
    for folder in ("new", "kept"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            save_checkpoint(folder, trained, overwrite=True)
        except PwactError as error:
            print(error)
        load_checkpoint("kept")
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == ""
    assert [re.search(r"found (.*);", line)[1] for line in run.stdout.splitlines()] == ["File too large"] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert len(list((tmp_path / "kept").iterdir())) == 2, "one record, one folder of arrays"


def test_too_little_room_is_seen_before_anything_is_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 10, 10)
    )
    with pytest.raises(PwactError, match=r"10 bytes free where .* are needed; make room"):
        save_checkpoint(tmp_path / "deep" / "run", trained)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["arrays", "record"])
def test_an_update_that_is_broken_off_leaves_the_old_checkpoint(trained, saved, monkeypatch, moment):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    before = sorted(path.name for path in saved.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(*((ocp.Checkpointer, "save") if moment == "arrays" else (module.os, "replace")), stop)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(saved, dataclasses.replace(trained, seconds=9.0), overwrite=True)
    assert sorted(path.name for path in saved.iterdir()) == before
    assert load_checkpoint(saved).seconds == trained.seconds


def interrupt_in(monkeypatch, epoch):
    sound = company.Company.steps

    def stopped(self, carries, number, *rest):
        if number == epoch:
            raise KeyboardInterrupt
        return sound(self, carries, number, *rest)

    monkeypatch.setattr(company.Company, "steps", stopped)


@pytest.mark.parametrize("treatment", ["trained", "shuffled_labels"])
def test_interrupted_and_resumed_gives_the_same_bits(config, parts, recipe, tmp_path, monkeypatch, treatment):
    options = {"seeds": [3, 5], "recipe": recipe, "test": parts["test"], "treatment": treatment}
    straight = train(config, parts["train"], **options)
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_in(patch, 2)
        with pytest.raises(KeyboardInterrupt, match=r"18 steps stopped; 12 of 18 steps are saved in .*run"):
            train(config, parts["train"], **options, folder=folder)
    with pytest.raises(PwactError, match="12 of 18 steps"):
        load_checkpoint(folder)
    resumed = train(config, parts["train"], **options, folder=folder, resume=True)
    assert equal(resumed, straight)
    assert resumed.curves.identical(straight.curves)
    assert equal(load_checkpoint(folder), straight)


def test_another_version_does_not_go_on_with_an_unfinished_training(
    config, parts, recipe, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder)
    record = json.loads((folder / "checkpoint.json").read_text())
    record["made"]["versions"] = "pwact=0.0.1"
    (folder / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(PwactError, match=r"the versions that the training was begun with: pwact=0\.0\.1"):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, resume=True)


def test_a_finished_training_is_loaded_not_repeated(config, parts, recipe, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    done = train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder)
    interrupt_in(monkeypatch, 0)
    again = train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, resume=True)
    assert equal(again, done) and again.seconds == done.seconds


def test_an_interrupt_without_a_folder_says_that_nothing_is_saved(config, parts, recipe, monkeypatch):
    interrupt_in(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt, match="nothing is saved, as no folder was given"):
        train(config, parts["train"], seeds=[3], recipe=recipe)


def test_a_folder_is_not_trained_into_unless_resumed(config, parts, recipe, tmp_path):
    with pytest.raises(PwactError, match="pass resume=True"):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=tmp_path)
    with pytest.raises(PwactError, match="a checkpoint folder"):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=tmp_path, resume=True)


def test_another_training_is_not_resumed(config, parts, recipe, tmp_path, trained):
    folder = save_checkpoint(tmp_path / "run", trained)
    base = {"seeds": [3, 5, 8], "recipe": recipe, "test": parts["test"], "folder": folder, "resume": True}
    for change, message in (
        ({"seeds": [3, 5]}, r"found seeds=\(3, 5, 8\), not \(3, 5\) in"),
        ({"recipe": dataclasses.replace(recipe, epochs=9)}, "the recipe .*; found epochs=3, not 9 in"),
        ({"treatment": "shuffled_labels"}, "found treatment='trained', not 'shuffled_labels' in"),
        ({"test": None}, "found test_name='bag/test', not None"),
    ):
        with pytest.raises(PwactError, match=message):
            train(config, parts["train"], **base | change)
    with pytest.raises(PwactError, match=r"the preprocess .*; found mean="):
        train(config, parts["test"], **base)
    with pytest.raises(PwactError, match=r"found name='.*/train', not '.*/test', fingerprint=.* in") as other:
        train(config, parts["test"], **base, preprocess=trained.preprocess)
    assert parts["test"].fingerprint not in str(other.value), "long values are cut"


def test_an_intervention_must_be_given_again(config, parts, recipe, tmp_path):
    def halve(key, activation):
        return activation / 2

    halved = Intervention("blocks.0.relu", halve)
    folder = tmp_path / "run"
    done = train(config, parts["train"], seeds=[3], recipe=recipe, interventions=[halved], folder=folder)
    with pytest.raises(PwactError, match=r"halve#\w+ at blocks\.0\.relu; found none"):
        load_checkpoint(folder)
    assert equal(load_checkpoint(folder, interventions=[halved]), done)
    resumed = {"seeds": [3], "recipe": recipe, "folder": folder, "resume": True}
    with pytest.raises(PwactError, match="interventions of the checkpoint"):
        train(config, parts["train"], **resumed)


def test_an_edit_left_out_is_not_resumed_without(config, parts, recipe, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    options = {"seeds": [3], "recipe": recipe, "folder": folder}
    edit = Intervention.parse("blocks.0.relu=dropout(rate=0.5)")
    with monkeypatch.context() as patch:
        interrupt_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(config, parts["train"], **options, interventions=[edit])
    with pytest.raises(PwactError, match="the interventions that was asked for; found interventions="):
        train(config, parts["train"], **options, resume=True)
    other = Intervention.parse("blocks.0.relu=dropout(rate=0.25)")
    with pytest.raises(PwactError, match="interventions of the checkpoint"):
        train(config, parts["train"], **options, resume=True, interventions=[other])


def test_a_record_that_lacks_a_field_is_broken(saved):
    record = json.loads((saved / "checkpoint.json").read_text())
    for name in ("streams", "numbers", "diverged", "config", "step", "loss"):
        (saved / "checkpoint.json").write_text(json.dumps({k: v for k, v in record.items() if k != name}))
        with pytest.raises(PwactError, match=f"lacks {name}"):
            load_checkpoint(saved)


@pytest.mark.slow
def test_a_real_ctrl_c(tmp_path):
    program = """
import sys
from pwact.data import bag
from pwact.models import ModelConfig
from pwact.train import Recipe, train
config = ModelConfig((20, 20, 1), 3, widths=(4,), strides=(4,))
try:
    train(config, bag(size=200, image_size=20), seeds=[0, 1], recipe=Recipe(epochs=1_000_000),
          folder=sys.argv[1], progress=lambda *_: print("epoch", flush=True))
except KeyboardInterrupt as stop:
    print("said:", stop, flush=True)
"""
    folder = tmp_path / "run"
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert [run.stdout.readline().strip() for _ in range(3)] == ["epoch"] * 3
    os.kill(run.pid, signal.SIGINT)
    said = [line for line in run.communicate(timeout=60)[0].splitlines() if line.startswith("said:")]
    assert run.returncode == 0
    assert "are saved in" in said[0]
    with pytest.raises(PwactError, match="of 6000000 steps"):
        load_checkpoint(folder)
