"""Plans: what does not fit is split to the same bits or refused; settings are tried once and remembered."""

from __future__ import annotations

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.core import backend, free_memory
from pwact.core.backend import Setting
from pwact.core.cache_folder import cache_folder
from pwact.core.sweep import planner, remembered_setting, trial
from pwact.errors import PwactError
from pwact.stats import by_class, exact_quantiles, extrema, moments, top_k

MIB = 1 << 20
IMAGES, CLASSES = 96, 40
STATISTICS = {
    "m": by_class(moments(), CLASSES),
    "q": exact_quantiles((0.25, 0.5)),
    "e": by_class(extrema(), CLASSES),
    "t": top_k(3),
}


def model(variables, image):
    """Two convolutions with a scale and a shift, as batch norm has them, and their ReLU maps."""
    for kernel, scale in variables["layers"]:
        layout = ("NHWC", "HWIO", "NHWC")
        image = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)
        image = jax.nn.relu(image * scale[None, None, None] + 0.125)
    return image.mean((1, 2)) @ variables["head"]


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return {"layers": [(draw(3, 3, 3, 8), draw(8)), (draw(3, 3, 8, 8), draw(8))], "head": draw(8, CLASSES)}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(IMAGES, 16, 16, 3)).astype(np.float32)
    return pwact.data.arrays(images, np.arange(IMAGES) % CLASSES, num_classes=CLASSES, name="noise")


@pytest.fixture(scope="module")
def probe(variables):
    return pwact.probe(model, jnp.zeros((2, 16, 16, 3)), variables=variables)


@pytest.fixture(scope="module")
def sites(probe):
    return [name for name, site in probe.sites.items() if site.operation == "relu"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def equal(one, other) -> bool:
    return all(
        one[node][name].values.tobytes() == other[node][name].values.tobytes()
        and one[node][name].dims == other[node][name].dims
        for node in one.children
        for name in (*one[node].data_vars, *other[node].data_vars)
    )


def test_groups_give_the_same_bits(probe, variables, data, sites):
    asked = {"sites": sites, "batch_size": 32}
    whole = pwact.plan(probe, variables, data, STATISTICS, **asked)
    assert len(whole.groups) == 1 and whole.passes == 4
    limit = whole.peak_bytes - whole.state_bytes // 3
    split = pwact.plan(probe, variables, data, STATISTICS, memory=limit, **asked)
    assert len(split.groups) > 1 and split.peak_bytes <= limit == split.memory
    named = [
        (node, name) for group in split.groups for node, names in group.statistics.items() for name in names
    ]
    assert sorted(named) == sorted((site, name) for site in sites for name in STATISTICS)
    seen = []
    one = pwact.sweep(probe, variables, data, STATISTICS, **asked)
    other = pwact.sweep(
        *(probe, variables, data, STATISTICS),
        memory=limit,
        progress=lambda done, total: seen.append((done, total)),
        **asked,
    )
    assert (other.attrs["groups"], other.attrs["passes"]) == (len(split.groups), split.passes)
    assert seen[-1] == (split.passes * IMAGES,) * 2
    assert list(one.children) == list(other.children) and equal(one, other)


def test_a_plan_of_the_same_question_is_the_same(probe, variables, data, sites):
    whole = pwact.plan(probe, variables, data, STATISTICS, sites=sites, batch_size=32)
    limit = whole.peak_bytes - whole.state_bytes // 3
    plans = [
        pwact.plan(probe, variables, data, STATISTICS, sites=sites, batch_size=32, memory=limit)
        for _ in range(2)
    ]
    parts = [[group.statistics for group in plan.groups] for plan in plans]
    assert parts[0] == parts[1] and len(parts[0]) > 1


def test_refused_with_the_number_of_classes_that_fit(probe, variables, data, sites):
    def peak(classes: int) -> int:
        accs = {"m": by_class(moments(), classes)}
        return pwact.plan(probe, variables, data, accs, sites=sites[:1], batch_size=32).peak_bytes

    limit = peak(50)
    with pytest.raises(PwactError, match=r"'m' at '.*relu'.* of its 4,000 \('class'\)") as refused:
        accs = {"m": by_class(moments(), 4000)}
        pwact.sweep(probe, variables, data, accs, sites=sites[:1], batch_size=32, memory=limit)
    fits = int(refused.value.do.split("ask for ")[1].split(" of")[0].replace(",", ""))
    assert 40 <= fits <= 60
    assert "memory=" in refused.value.do


@pytest.mark.parametrize("memory", [0, -5, True])
def test_memory_is_a_number_of_bytes(probe, variables, data, sites, memory):
    with pytest.raises(PwactError, match="memory of 1 or more"):
        pwact.sweep(probe, variables, data, STATISTICS, sites=sites, memory=memory)


def test_state_bytes_are_those_of_the_arrays(probe, variables, data, sites):
    plan = pwact.plan(probe, variables, data, {"m": moments()}, sites=sites, batch_size=32)
    state = moments().init(jax.ShapeDtypeStruct((16, 16, 8), jnp.float32))
    assert plan.state_bytes == len(sites) * sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state))
    assert plan.peak_bytes >= plan.state_bytes + backend.uncounted_bytes()
    assert "peak memory" in str(plan) and plan.seconds >= plan.compute_seconds > 0


class TestTrial:
    """With a clock of our own: seconds of a load by setting."""

    @pytest.fixture
    def timed(self, monkeypatch):
        calls = []

        def seconds(job, task, setting):
            calls.append(setting)
            return 100.0 if setting.options else 50.0

        monkeypatch.setattr(trial, "seconds_a_load", seconds)
        return calls

    @pytest.fixture
    def own(self, variables):
        """A probe that nothing is remembered of."""
        return lambda: pwact.probe(model, jnp.zeros((2, 16, 16, 3)), variables=variables)

    def ask(self, probe, variables, data, sites, **kwargs):
        return pwact.sweep(probe, variables, data, {"m": moments()}, sites=sites[:1], batch_size=1, **kwargs)

    @pytest.fixture
    def many(self, monkeypatch):
        """A trial is worth it from two loads on."""
        monkeypatch.setattr(trial, "SHARE", 0.9)
        monkeypatch.setattr(trial, "TRIES", 1)

    def test_a_short_sweep_is_guessed_without_timing(self, own, variables, data, sites, timed):
        tree = pwact.sweep(own(), variables, data, {"m": moments()}, sites=sites[:1])
        assert tree.attrs["settled"] == "guessed" and not timed
        assert cache_folder("settings") is not None and not list(cache_folder("settings").iterdir())

    @pytest.mark.skipif(not backend.compiler_options(), reason="one option or none: nothing to choose from")
    def test_the_fastest_is_remembered_across_processes(
        self, own, variables, data, sites, timed, many, monkeypatch
    ):
        monkeypatch.setattr(trial, "SHARE", 0.4)
        first = self.ask(own(), variables, data, sites)
        assert first.attrs["settled"] == "tried" and json.loads(first.attrs["compiler_options"]) == {}
        (file,) = cache_folder("settings").iterdir()
        tried = len(timed)
        again = self.ask(own(), variables, data, sites)  # a probe of its own: only the file remembers
        assert again.attrs["settled"] == "remembered" and len(timed) == tried
        assert equal(first, again) and again.attrs["compiler_options"] == "{}"
        file.write_bytes(b"{")
        assert self.ask(own(), variables, data, sites).attrs["settled"] == "tried"
        assert json.loads(file.read_text())["format"] == remembered_setting.FORMAT

    def test_a_number_of_images_is_taken(self, own, variables, data, sites, timed, many):
        tree = self.ask(own(), variables, data, sites, micro_batch=1)
        assert (tree.attrs["settled"], tree.attrs["micro_batch"]) == ("as asked", 1) and not timed

    def test_no_folder_is_no_error(self, own, variables, data, sites, timed, many, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert cache_folder("settings") is None
        assert self.ask(own(), variables, data, sites).attrs["settled"] in ("tried", "guessed")


def test_a_folder_that_others_can_write_to_is_not_believed(tmp_path, monkeypatch):
    folder = cache_folder("settings")
    assert folder is not None and folder.stat().st_mode & 0o777 == 0o700
    os.chmod(folder, 0o777)
    assert cache_folder("settings") is None
    os.chmod(folder, 0o700)
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", folder.parent / "linked")
    assert cache_folder("linked") is None


def test_only_candidates_are_believed(tmp_path):
    path = tmp_path / "s.json"
    known = Setting(8, (("a", "b"),))
    remembered_setting.save(path, known, {known: 0.5})
    assert remembered_setting.load(path, [known]) == known
    assert remembered_setting.load(path, [Setting(8, ())]) is None
    good = path.read_bytes()
    for damage in (
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"micro_batch": 8}',
        good.replace(b"setting 1", b"setting 7"),
    ):
        path.write_bytes(damage)
        assert remembered_setting.load(path, [known]) is None
    assert [each.name for each in tmp_path.iterdir() if each.name != "cache"] == ["s.json"]


def test_a_container_has_less_than_the_system(tmp_path):
    assert free_memory._container(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300\n")
    assert free_memory._container(tmp_path) == [400]
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory._container(tmp_path) == []
    assert planner.free_bytes() > MIB
