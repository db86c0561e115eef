"""Whatever ends a sweep, the same call goes on to the same bits, or says why it cannot."""

from __future__ import annotations

import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

import pwact
from pwact.core.sweep.state_file import StateFile
from pwact.errors import NonFiniteError, PwactError
from pwact.stats import by_class, firing
from tests.core.sweep.resuming import CLASSES, IMAGES, LOAD, PASSES, STATISTICS, Changed, arrays, question

TOTAL = PASSES * IMAGES


@pytest.fixture(scope="module")
def asked():
    return question()


def sweep(asked, state=None, statistics=STATISTICS, data=None, **kwargs):
    probe, variables, own = asked
    kwargs = {"sites": ["relu"], "batch_size": LOAD, **kwargs}
    return pwact.sweep(probe, variables, data or own, statistics, state=state, **kwargs)


@pytest.fixture(scope="module")
def whole(asked):
    return arrays(sweep(asked))


def stopping_at(images):
    """A Ctrl-C as soon as so many images are done."""

    def progress(done, total):
        if done >= images:
            raise KeyboardInterrupt

    return progress


def interrupted(asked, state, at, **kwargs):
    with pytest.raises(KeyboardInterrupt) as stopped:
        sweep(asked, state, progress=stopping_at(at), **kwargs)
    return str(stopped.value)


def assert_same_bits(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name


class Sweeping:
    """The same sweep in a process of its own."""

    def __init__(self, state, out, seed, devices):
        tests = pathlib.Path(__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(tests.with_name("resuming.py")), str(state), str(out)],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            },
        )

    def kill_after(self, loads, seconds):
        """SIGKILL, so many loads and seconds after it began to compute; the last progress that was said."""
        said = [self.process.stdout.readline() for _ in range(1 + loads)]
        time.sleep(seconds)
        self.process.kill()
        rest, _ = self.process.communicate()
        return int((rest.split() or said)[-1])

    def finish(self):
        self.process.communicate(timeout=120)
        assert self.process.returncode == 0


def killed_and_finished(folder, kills, seed, devices=1):
    """The arrays of a sweep that was killed several times."""
    rng = random.Random(seed)
    for number in range(kills):
        reached = Sweeping(folder / "state", folder / "out.npz", number, devices).kill_after(
            rng.randint(2, 60 // kills), rng.random() * 0.05
        )
        assert 0 < reached < TOTAL and (folder / "state").exists() and not (folder / "out.npz").exists()
    Sweeping(folder / "state", folder / "out.npz", 77, devices).finish()
    return dict(np.load(folder / "out.npz"))


def check_killed(folder, asked, whole, kills, seed):
    found = killed_and_finished(folder, kills, seed)
    assert str(found.pop("order")) == sweep(asked).attrs["order_sha256"]
    resumed = json.loads(str(found.pop("resumed")))
    assert 1 <= len(resumed) <= kills and resumed == sorted(set(resumed))
    assert_same_bits(found, whole)
    assert found["/relu:m.count"] == IMAGES == found["/relu:c.count"].sum()
    assert [path.name for path in folder.iterdir()] == ["out.npz"]


def test_killed_at_a_random_moment_it_goes_on_to_the_same_bits(tmp_path, asked, whole):
    check_killed(tmp_path, asked, whole, kills=1, seed=time.time_ns())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_three_times_at_random_moments_it_goes_on_to_the_same_bits(tmp_path, asked, whole, seed):
    check_killed(tmp_path, asked, whole, kills=3, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_killed_on_several_devices(tmp_path, devices):
    found = [killed_and_finished(folder_in(tmp_path, name), kills, 5, devices) for name, kills in TWICE]
    for name in ("resumed", "order"):
        first, second = (str(one.pop(name)) for one in found)
        assert (first == second) == (name == "order")
    assert_same_bits(*found)


TWICE = (("whole", 0), ("killed", 2))


def folder_in(folder, name):
    (folder / name).mkdir()
    return folder / name


def test_interrupted_in_every_part_it_goes_on_to_the_same_bits(tmp_path, asked, whole):
    state = tmp_path / "s"
    reached = [0]
    for at in (1, LOAD * 7, IMAGES - 1, IMAGES, IMAGES + 3, TOTAL - 1, TOTAL):
        said = interrupted(asked, state, at)
        assert "make the same call again to go on" in said
        reached.append(int(said.split()[0].replace(",", "")))
        assert min(at, TOTAL) <= reached[-1] <= at + 2 * LOAD
    seen = []
    tree = sweep(asked, state, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (TOTAL, TOTAL)
    assert_same_bits(arrays(tree), whole)
    assert json.loads(tree.attrs["resumed"]) == sorted(set(reached))[1:]
    assert not list(tmp_path.iterdir())


def test_without_a_state_an_interruption_says_that_all_is_lost(asked):
    assert interrupted(asked, None, LOAD) == "The statistics so far are lost."


def test_interrupted_before_the_first_image(tmp_path, asked):
    assert interrupted(asked, tmp_path / "s", 0) == (
        "No image was kept: make the same call again to begin anew."
    )
    assert not list(tmp_path.iterdir())


def test_interrupted_before_it_goes_on_it_says_what_is_kept(tmp_path, asked):
    def interrupt(positions):
        raise KeyboardInterrupt

    interrupted(asked, tmp_path / "s", LOAD * 4)
    with pytest.raises(KeyboardInterrupt, match=r"images are kept in .*make the same call again"):
        sweep(asked, tmp_path / "s", data=Changed(asked[2], interrupt))


def test_a_state_can_be_kept_until_the_result_is_safe(tmp_path, asked, whole):
    state = tmp_path / "s"
    first = sweep(asked, state, keep_state=True)

    def never(positions):
        raise AssertionError("more than the first images, which are looked at for shapes")

    def few(positions):
        return asked[2].read(positions) if positions.max() < LOAD else never(positions)

    again = sweep(asked, state, data=Changed(asked[2], few))
    assert_same_bits(arrays(again), whole)
    assert first.attrs["order_sha256"] == again.attrs["order_sha256"]
    assert again.attrs["seconds"] > first.attrs["seconds"], "of both together"
    assert not list(tmp_path.iterdir())


def labels_changed(data):
    changed = Changed(data, lambda positions: None)
    changed.labels = (data.labels + 1) % CLASSES
    return changed


CHANGES = {
    "batch_size": {"batch_size": LOAD // 2},
    "micro_batch": {"micro_batch": 4},
    "sites": {"sites": ["input"]},
    "statistics": {"statistics": {**STATISTICS, "f": firing(threshold=0.5)}},
    "statistics ": {"statistics": {"n" if name == "m" else name: acc for name, acc in STATISTICS.items()}},
    "preprocess": {"preprocess": lambda image: image * 0.5},
    "logits": {"logits": lambda outputs: outputs + 1.0},
    "labels": {"data": labels_changed},
    "dataset": {"data": lambda data: pwact.data.arrays(data.images[::-1], data.labels, name="noise")},
    "images": {"data": lambda data: pwact.data.split(data, seed=0)["test"]},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory, asked):
    """A state in the middle of a sweep."""
    state = tmp_path_factory.mktemp("kept") / "s"
    interrupted(asked, state, LOAD * 3)
    return state


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_of_another_sweep_is_refused_by_name(asked, kept, name):
    change = dict(CHANGES[name])
    if callable(change.get("data")):
        change["data"] = change["data"](asked[2])
    before = kept.read_bytes()
    with pytest.raises(PwactError, match=rf"another {name.strip()} \(.*undo the change, or remove"):
        sweep(asked, kept, **change)
    assert kept.read_bytes() == before


def test_other_variables_and_another_model_are_refused(asked, kept):
    probe, variables, data = asked
    with pytest.raises(PwactError, match=r"another variables \(\w{12}, now \w{12}\)"):
        sweep((probe, variables * 2, data), kept)
    other = pwact.probe(lambda v, x: 2 * probe_output(v, x), data.images[:1], variables=variables)
    with pytest.raises(PwactError, match="another computation: the model, or a function"):
        sweep((other, variables, data), kept)


def probe_output(variables, image):
    from tests.core.sweep.resuming import model

    return model(variables, image)


def test_other_versions_are_refused(asked, kept, monkeypatch):
    monkeypatch.setattr("pwact.core.provenance._versions", lambda: "jax=0.0.1")
    with pytest.raises(PwactError, match=r"another versions \(.*now jax=0\.0\.1\)"):
        sweep(asked, kept)


def test_a_last_step_that_changed_is_refused(tmp_path, asked):
    own = STATISTICS["a"]

    def other(by):
        def finalize(state):
            (named,) = own.finalize(state).values()
            return {"above": type(named)(named.values.to_float() * by, named.dims)}

        return {"a": own._replace(finalize=finalize)}

    interrupted(asked, tmp_path / "s", LOAD, statistics=other(1.0))
    with pytest.raises(PwactError, match="found another statistics"):
        sweep(asked, tmp_path / "s", other(2.0))


def test_a_damaged_state_is_said_and_the_one_before_is_used(tmp_path, asked, whole):
    state = tmp_path / "s"
    for at in (LOAD * 4, LOAD * 9):
        interrupted(asked, state, at)
    state.write_bytes(state.read_bytes()[:-7])
    tree = sweep(asked, state)
    assert "cut short or damaged" in tree.attrs["state_damage"]
    assert LOAD * 4 <= json.loads(tree.attrs["resumed"])[-1] < LOAD * 9
    assert_same_bits(arrays(tree), whole)


def test_an_image_that_cannot_be_read_is_named_and_once_mended_the_sweep_goes_on(tmp_path, asked, whole):
    data, broken = asked[2], {333}

    def read(positions):
        if broken & set(positions.tolist()):
            raise OSError("image file is truncated")
        return data.read(positions)

    for state, words in ((tmp_path / "s", "320 images are kept"), (None, "leave it out of the dataset$")):
        with pytest.raises(
            PwactError, match=rf"position 333 of 'noise'; found OSError: image file is trunc.*{words}"
        ):
            sweep(asked, state, data=Changed(data, read))
    broken.clear()
    tree = sweep(asked, tmp_path / "s", data=Changed(data, read))
    assert json.loads(tree.attrs["resumed"]) == [320]
    assert_same_bits(arrays(tree), whole)


def test_what_is_not_finite_is_never_kept(tmp_path, asked):
    def read(positions):
        batch = asked[2].read(positions)
        return batch._replace(image=np.where((batch.index == 400)[:, None, None, None], np.nan, batch.image))

    data = Changed(asked[2], read)
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="dataset index 400"):
            sweep(asked, tmp_path / "s", data=data, save_every=0.0)
        assert 0 < kept_images(tmp_path / "s") <= 400


def test_a_full_disk_stops_the_sweep_and_keeps_the_last_state(tmp_path, asked, whole):
    state, kept = tmp_path / "s", []
    interrupted(asked, state, LOAD * 5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(PwactError, match="to write the state file"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
            sweep(asked, state, save_every=0.0, progress=lambda done, total: kept.append(done))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert LOAD * 5 <= kept[0] <= LOAD * 7
    tree = sweep(asked, state)
    assert json.loads(tree.attrs["resumed"])[-1] == kept[0]
    assert_same_bits(arrays(tree), whole)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 1 MiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("not allowed to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_and_one_that_is_read_only(disk, asked, whole, monkeypatch):
    """Real ones: what is kept stays whole, and the sweep goes on once there is room again."""
    monkeypatch.setattr("pwact.core.sweep.resume.SHARE", 1e9)  # save after every load
    state, filler = disk / "s", disk / "filler"

    def fill(done, total):
        if done == LOAD * 8:
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(b"0" * 2**20)

    def turn(how):
        subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

    with pytest.raises(PwactError, match=r"to write the state file .*No space left"):
        sweep(asked, state, save_every=0.0, progress=fill)
    filler.unlink()
    assert LOAD * 6 <= kept_images(state) <= LOAD * 8
    turn("ro")
    with pytest.raises(PwactError, match=r"to write the state file .*Read-only"):
        sweep(asked, state)
    turn("rw")
    tree = sweep(asked, state)
    assert LOAD * 6 <= json.loads(tree.attrs["resumed"])[0] <= LOAD * 8
    assert_same_bits(arrays(tree), whole)
    assert not list(disk.iterdir())


def kept_images(state):
    with StateFile(state) as file:
        return file.load().note["done"]


def test_saving_takes_a_bounded_share_of_the_time(tmp_path, asked, monkeypatch):
    """A save that takes a second is followed by 50 seconds without one, however often one was asked for."""
    saves, clock = [], [0.0]

    class Slow(StateFile):
        def save(self, content):
            saves.append(clock[0])
            clock[0] += 1.0

    monkeypatch.setattr("pwact.core.sweep.api.StateFile", Slow)
    monkeypatch.setattr("pwact.core.sweep.resume.time.monotonic", lambda: clock[0])

    def a_second(done, total):
        clock[0] += 1.0

    sweep(asked, tmp_path / "s", save_every=5.0, progress=a_second)
    assert 5.0 <= saves[0] <= 6.0 and len(saves) == 2
    assert 51.0 <= saves[1] - saves[0] <= 52.0


def test_times_that_are_none_are_refused(tmp_path, asked):
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PwactError, match="save_every"):
            sweep(asked, tmp_path / "s", save_every=wrong)
    assert not list(tmp_path.iterdir())


def test_by_class_counts_each_image_once_after_many_interruptions(tmp_path, asked):
    statistics, state = {"c": by_class(firing(), CLASSES)}, tmp_path / "s"
    for at in range(LOAD, IMAGES, LOAD * 6):
        interrupted(asked, state, at, statistics=statistics)
    counts = arrays(sweep(asked, state, statistics))["/relu:c.count"]
    np.testing.assert_array_equal(counts, np.bincount(asked[2].labels, minlength=CLASSES))
