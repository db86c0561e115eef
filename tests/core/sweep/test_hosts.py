"""One sweep in several real processes on the loopback, killed for real."""

from __future__ import annotations

import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from pwact.core.sweep import hosts
from pwact.core.sweep.peers import Peers
from pwact.core.sweep.state_file import Content
from tests.core.sweep.resuming import IMAGES

LOST = 10
"""Seconds without a sign of life in these tests; a busy machine may be silent for some."""


class Job:
    """Processes that sweep together."""

    def __init__(self, folder, processes, devices=1, **asked):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        program = str(pathlib.Path(__file__).with_name("several.py"))
        words = [f"{name}={value}" for name, value in {"lost": LOST, **asked}.items()]
        self.processes = []
        for number in range(processes):
            place = [str(port), str(number), str(processes), str(folder / f"{number}.npz")]
            with open(folder / f"{number}.err", "w") as errors:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, program, *place, *words],
                        env=environment,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        text=True,
                    )
                )

    def kill_after(self, victim, loads):
        """SIGKILL one of them when it is so far."""
        for _ in range(1 + loads):
            assert self.processes[victim].stdout.readline(), self.said(victim)
        self.processes[victim].kill()

    def ended(self):
        """The exit codes, and the seconds from the first end to the last."""
        ends = {}
        until = time.monotonic() + 200
        while len(ends) < len(self.processes):
            for number, process in enumerate(self.processes):
                if number not in ends and process.poll() is not None:
                    ends[number] = time.monotonic()
            if time.monotonic() > until:
                for process in self.processes:
                    process.kill()
                raise AssertionError([self.said(number) for number in range(len(self.processes))])
            time.sleep(0.05)
        for process in self.processes:
            process.stdout.close()
        codes = [process.returncode for process in self.processes]
        return codes, max(ends.values()) - min(ends.values())

    def said(self, number):
        return (self.folder / f"{number}.err").read_text()

    def found(self):
        """The arrays and attributes that all of them hold."""
        codes, _ = self.ended()
        assert not any(codes), [self.said(number) for number in range(len(codes))]
        each = [dict(np.load(self.folder / f"{number}.npz")) for number in range(len(codes))]
        attrs = [json.loads(str(one.pop("attrs"))) for one in each]
        for other in each[1:]:
            assert_same_bits(other, each[0])
        for name in ("order_sha256", "devices", "processes"):
            assert len({one[name] for one in attrs}) == 1
        return each[0], attrs


def assert_same_bits(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name


def assert_as_alone(found, alone):
    """Exact where nothing is rounded; sums of 610 values of size 10 at most in another order."""
    assert found.keys() == alone.keys()
    for name, array in alone.items():
        if np.issubdtype(array.dtype, np.integer) or name.partition(":")[2][0] in "eq":
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        else:  # 610 * 2^-24 * 10, twice for a variance
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=8e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds."""
    return Job(tmp_path_factory.mktemp("alone"), 1).found()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two processes find that nothing happens to."""
    return Job(tmp_path_factory.mktemp("whole"), 2).found()


def test_every_image_is_in_the_share_of_one_process():
    for images, batch_size, processes in ((610, 16, 2), (610, 16, 4), (5, 2, 4), (1, 256, 3), (64, 16, 4)):
        shares = [hosts.share(images, batch_size, process, processes) for process in range(processes)]
        assert [position for own in shares for position in own] == list(range(images))
        assert all(own.start % batch_size == 0 or not own for own in shares)


def test_one_process_is_its_own_company():
    with Peers() as peers:
        own = Content({"images": 1}, {})
        peers.check()
        assert peers.gathered(own) == [own]
        assert peers.reduced(own, lambda left, right: left) is own


def test_two_processes_find_what_one_finds(alone, whole):
    assert_as_alone(whole[0], alone[0])
    assert whole[0]["/relu:m.count"] == IMAGES
    attrs = whole[1][0]
    assert attrs["order_sha256"] == alone[1][0]["order_sha256"]
    assert attrs["processes"] == "2" and len(json.loads(attrs["devices"])) == 2


def test_a_killed_process_stops_the_other_and_the_same_commands_finish(tmp_path, whole):
    state = tmp_path / "state"
    job = Job(tmp_path, 2, state=state, slow=0.05)
    job.kill_after(1, random.Random(time.time_ns()).randint(1, 40))
    codes, seconds = job.ended()
    assert codes == [1, -9] and seconds < LOST + 10
    error = job.said(0).rstrip().splitlines()[-1]
    assert f"no sign of life from process 1 for {LOST} seconds; see what ended it, then start all" in error
    assert state.with_name("state.process-0").exists()
    found, attrs = Job(tmp_path, 2, state=state).found()
    assert_same_bits(found, whole[0])
    assert json.loads(attrs[0]["resumed"]) and attrs[0]["order_sha256"] == whole[1][0]["order_sha256"]
    assert not list(tmp_path.glob("state*"))


def test_processes_that_sweep_something_else_are_refused(tmp_path):
    job = Job(tmp_path, 2, other=1)
    codes, _ = job.ended()
    assert codes == [1, 1]
    for number in range(2):
        assert "found in process 1 another variables (" in job.said(number).rstrip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "words"), [({"bad": 400}, "index 400"), ({"torn": 7}, "position 7 of")])
def test_an_error_in_one_process_stops_the_other_at_once(tmp_path, asked, words):
    job = Job(tmp_path, 2, slow=0.02, **asked)
    codes, seconds = job.ended()
    assert codes == [1, 1] and seconds < LOST
    for number in range(2):
        assert words in job.said(number).rstrip().splitlines()[-1]


@pytest.mark.slow
def test_a_process_killed_while_others_begin_a_further_reading_catches_up(tmp_path, whole):
    state = tmp_path / "state"
    for time_of_death in (2, 3):
        job = Job(tmp_path, 2, state=state, dies=time_of_death)
        assert job.ended()[0] == [1, -9]
    found, _ = Job(tmp_path, 2, state=state).found()
    assert_same_bits(found, whole[0])
    assert not list(tmp_path.glob("state*"))


@pytest.mark.slow
def test_a_state_that_is_missing_where_others_are_further_is_refused(tmp_path):
    state = tmp_path / "state"
    job = Job(tmp_path, 2, state=state, slow=0.05)
    job.kill_after(1, 32)  # 20 loads a reading
    assert job.ended()[0] == [1, -9]
    for path in tmp_path.glob("state.process-1*"):
        path.unlink()
    job = Job(tmp_path, 2, state=state)
    assert job.ended()[0] == [1, 1]
    for number in range(2):
        assert "that of process 1 from an earlier one" in job.said(number).rstrip().splitlines()[-1]


@pytest.mark.slow
def test_process_0_killed_ends_the_others_and_the_same_commands_finish(tmp_path, whole):
    state = tmp_path / "state"
    job = Job(tmp_path, 2, state=state, slow=0.05)
    job.kill_after(0, 20)
    codes, seconds = job.ended()
    assert codes[0] == -9 and codes[1] != 0 and seconds < LOST + 10
    assert "JAX distributed service" in job.said(1) or "no sign of life from process 0" in job.said(1)
    assert_same_bits(Job(tmp_path, 2, state=state).found()[0], whole[0])


@pytest.mark.slow
def test_four_processes_killed_at_random_moments_go_on_to_the_same_bits(tmp_path, alone):
    undisturbed, attrs = Job(tmp_path, 4).found()
    assert_as_alone(undisturbed, alone[0])
    assert attrs[0]["order_sha256"] == alone[1][0]["order_sha256"]
    rng, state = random.Random(0), tmp_path / "state"
    for victim in (3, 1):
        job = Job(tmp_path, 4, state=state, slow=0.05)
        job.kill_after(victim, rng.randint(1, 12))
        codes, seconds = job.ended()
        assert codes == [-9 if number == victim else 1 for number in range(4)] and seconds < LOST + 20
    assert_same_bits(Job(tmp_path, 4, state=state).found()[0], undisturbed)


@pytest.mark.slow
def test_several_devices_in_each_process(tmp_path, alone):
    found, attrs = Job(tmp_path, 2, devices=2).found()
    assert_as_alone(found, alone[0])
    assert len(json.loads(attrs[0]["devices"])) == 4


@pytest.mark.slow
def test_more_processes_than_loads(tmp_path, alone):
    found, _ = Job(tmp_path, 4, batch=256, state=tmp_path / "state").found()
    assert_as_alone(found, alone[0])
    assert found["/relu:m.count"] == IMAGES
