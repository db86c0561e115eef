"""A small study from end to end: a folder that is whole, says what it must, and can be drawn.

It is the smoke preset on images like those of its own calibration, so that both use the same compiled
programs, and these are compiled with few optimisations: nearly all of its time is XLA's.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
import xarray as xr

from pwact.core import check_same_model
from pwact.errors import PwactError
from pwact.records import read_record, to_json, write_record
from pwact.report import write_report
from pwact.studies import networks, preset, run, run_study
from pwact.studies.judging import TRAINED_ON_TRAIN
from pwact.studies.networks import FLATTEN, MOVED, SHUFFLED, SMALL, TRAINED, UNTRAINED
from pwact.train import load_checkpoint

KINDS = [TRAINED, SHUFFLED, UNTRAINED, MOVED, SMALL, FLATTEN]


SMALL_STUDY = replace(preset("smoke"), dataset="bag(size=600)")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "smoke"
    said = []
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        record = run_study(SMALL_STUDY, folder, progress=lambda stage, done: said.append((stage, done)))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    return folder, record, said


@pytest.mark.slow
def test_the_smoke_preset_runs_as_it_is_and_is_drawn(tmp_path):
    record = run_study("smoke", tmp_path / "smoke")
    assert record.dataset["name"] == "digits" and record.networks[0].accuracy.estimate > 0.5
    assert {verdict.verdict for verdict in record.verdicts} == {"inadmissible"}
    assert write_report(tmp_path / "smoke").exists()


@pytest.fixture(scope="module")
def arrays(smoke):
    return xr.load_datatree(smoke[0] / "arrays.nc", engine="h5netcdf")


def test_the_folder_is_whole_and_reads_back(smoke):
    folder, record, _ = smoke
    assert sorted(os.listdir(folder)) == ["arrays.nc", "networks", "study.json"]
    assert os.listdir(folder.parent) == ["smoke"]
    assert to_json(read_record(folder / "study.json")) == to_json(record)


def test_calibration_comes_before_any_network_of_the_study_and_any_verdict(smoke):
    stages = [stage for stage, _ in smoke[2]]
    shown = next(i for i, stage in enumerate(stages) if stage.startswith("Calibration on "))
    assert shown < stages.index("training: trained") < stages.index("verdicts")
    done = [share for _, share in smoke[2]]
    assert done == sorted(done) and done[0] == 0 and done[-1] <= 1


def test_two_seeds_give_no_verdict(smoke):
    _, record, _ = smoke
    assert [verdict.prediction for verdict in record.verdicts] == ["P1", "P4"]
    assert {verdict.verdict for verdict in record.verdicts} == {"inadmissible"}
    assert all("Fewer than 10" in each.how for each in record.calibration)
    reason = "2 networks of each kind are fewer than the 10 that a verdict needs"
    assert all(reason in line for line in (*record.summary[:3], record.limits[0]))
    assert all("these numbers come from 2" in verdict.explanation for verdict in record.verdicts)


def test_every_network_and_control_is_there(smoke):
    _, record, _ = smoke
    assert [network.name for network in record.networks] == [
        *KINDS,
        *("bag", "bag, shuffled points", "relation", "relation, shuffled points"),
    ]
    metrics = [(each.prediction, each.metric) for each in record.calibration]
    assert metrics == [
        ("P1", "AII_s"),
        ("P1", "AII_s - AII_i"),
        ("P1", "retained accuracy"),
        ("P4", "Gini"),
    ]
    assert all(len(each.bag) == len(each.relation) == 2 for each in record.calibration)
    assert all(network.seeds == 2 for network in record.networks)
    p1, p4 = record.verdicts
    of_p1 = {(control.metric, control.network) for control in p1.controls}
    for kind in (SHUFFLED, UNTRAINED, SMALL, FLATTEN):
        assert {("AII_s", kind), ("AII_i", kind), ("AII_s - AII_i", kind)} <= of_p1
    assert ("AII_i, channels in a random basis", TRAINED) in of_p1
    of_p4 = {(control.metric, control.network) for control in p4.controls}
    assert {("Gini", kind) for kind in (SHUFFLED, UNTRAINED, SMALL, TRAINED_ON_TRAIN)} <= of_p4
    kappas = [metric for metric, _ in of_p4 if metric.startswith("kappa")]
    assert len(kappas) == 6 and sum("another image" in metric for metric in kappas) == 3


def test_the_record_carries_rules_limits_and_provenance(smoke):
    folder, record, _ = smoke
    configuration = json.loads((folder / "study.json").read_text())["configuration"]
    assert configuration["primary_site"] == "blocks.1.relu"
    assert configuration["arrangement"]["retained_refute"] == 0.85 and configuration["draws"] == 1000
    assert len(record.summary) == 5
    text = " ".join(record.limits).lower()
    for limit in ("abstract", "fills", "claim c", "imagenet"):
        assert limit in text
    assert "our operationalisation of a hypothesis known from its abstract" in record.question
    assert "reproduc" not in (folder / "study.json").read_text()
    for key in ("versions", "device", "variables_sha256", "train_index_sha256", "preprocess", "command"):
        assert record.provenance[key]
    assert configuration["calibration"]["null_spread"] == 0.2
    assert configuration["calibration"]["planted_images"] == 512
    assert configuration["concentration"]["margin_error"] == 1e-3


def test_shuffled_labels_are_compared_on_the_images_both_saw(smoke):
    """The rule's difference is that of the two controls on training images, and not that of held-out ones."""
    p4 = smoke[1].verdicts[1]
    gini = {each.network: each.interval.estimate for each in p4.controls if each.metric == "Gini"}
    found = [each.interval.estimate for each in p4.criteria if "shuffled" in each.name]
    assert found == pytest.approx([gini[TRAINED_ON_TRAIN] - gini[SHUFFLED]] * 2)


def test_both_files_say_which_run_they_are_of(smoke, arrays, tmp_path):
    folder, record, _ = smoke
    for name in ("run_sha256", "variables_sha256", "dataset_sha256", "versions", "command"):
        assert arrays.attrs[name] == record.provenance[name]
    trained = load_checkpoint(folder / "networks" / "trained").variables
    check_same_model(arrays, trained)
    with pytest.raises(PwactError, match="results of another"):
        check_same_model(arrays, load_checkpoint(folder / "networks" / "untrained").variables)
    for name in ("study.json", "arrays.nc"):
        shutil.copy(folder / name, tmp_path)
    other = replace(record, provenance={**record.provenance, "run_sha256": "0" * 64})
    write_record(other, tmp_path / "study.json")
    with pytest.raises(PwactError, match="of one run"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_last_map_under_gap_is_a_tautology_and_the_patch_network_sees_no_arrangement(arrays):
    aii = arrays["p1"]["aii_s"]
    last = aii.sel(network=TRAINED, site="blocks.3.relu").values
    assert np.allclose(last, 1)
    # Kernels of one pixel above the primary layer and an average: indifferent by construction.
    small = aii.sel(network=SMALL, site="blocks.1.relu").values
    assert np.allclose(small, 1)


def test_indices_follow_from_what_is_kept(arrays):
    p1 = arrays["p1"].dataset.sel(site="blocks.1.relu", network=TRAINED)
    index = (p1["agreement"].sel(mode="joint") - p1["chance"]) / (1 - p1["chance"])
    assert np.allclose(index, p1["aii_s"])
    by_image = arrays["p1"]["agreement_by_image"].sel(network=TRAINED, mode="joint").mean("image")
    assert np.allclose(by_image, p1["agreement"].sel(mode="joint"), atol=1e-6)


def test_what_is_drawn_over_all_seeds_is_what_the_tables_say(smoke, arrays):
    p1, p4 = (arrays[node].dataset for node in ("p1", "p4"))
    said = {
        (control.metric, control.network): control.interval.estimate
        for verdict in smoke[1].verdicts
        for control in verdict.controls
    }
    pooled = p1["aii_s_pooled"].sel(site="blocks.1.relu")
    for kind in (SHUFFLED, UNTRAINED, SMALL, FLATTEN):
        assert float(pooled.sel(network=kind)) == pytest.approx(said["AII_s", kind], nan_ok=True)
    kept = p4["kappa_pooled"].sel(network=TRAINED, order="random", fill="dataset mean")
    words = "kappa, 10% of points kept by random, fill: dataset mean"
    assert float(kept) == pytest.approx(said[words, TRAINED], nan_ok=True)


def test_shuffled_labels_are_measured_on_training_images(arrays):
    place = arrays["p1"]["place"]
    seen = {str(name): set(place.sel(network=name).values.tolist()) for name in place.network.values}
    assert seen[SHUFFLED].isdisjoint(seen[TRAINED]) and seen[UNTRAINED] == seen[TRAINED]
    other = arrays["p4"]["place"].sel(network=TRAINED_ON_TRAIN)
    assert set(other.values.tolist()) == seen[SHUFFLED]


def test_arrays_have_the_documented_names_and_dimensions(arrays):
    for node in ("curves", "p1", "p4"):
        assert arrays[node]["seed"].values.tolist() == [0, 1] and TRAINED in arrays[node]["network"].values
    assert set(arrays["curves"]["loss"].dims) == {"network", "seed", "epoch", "split"}
    for name in ("gini", "hoyer", "k90"):
        assert arrays["p4"][name].dims == ("network", "seed", "image")
    assert arrays["p4"]["lorenz"].dims == ("network", "seed", "quantile")
    curve = arrays["p4"]["lorenz"].sel(network=TRAINED)
    assert np.allclose(curve[:, 0], 0) and np.allclose(curve[:, -1], 1, atol=1e-5)
    for site in ("blocks.1.relu", "blocks.3.relu"):
        maps, top = arrays[f"maps/{site}"], arrays[f"top/{site}"]
        assert maps["mean"].dims == maps["firing"].dims == ("class", "row", "column", "channel")
        assert top["image"].dtype == np.uint8 and top["box"].sizes["edge"] == 4
        assert float(maps["firing"].max()) <= 1


def test_strongest_images_are_what_the_network_says(smoke, arrays):
    """The first channel's strongest image, run by hand, has that value at that point, inside its box."""
    import pwact
    from pwact.studies.measure import model_probe

    trained = load_checkpoint(smoke[0] / "networks" / "trained")
    top = arrays["top/blocks.1.relu"].dataset.isel(channel=0, rank=0)
    whole = pwact.data.load(SMALL_STUDY.dataset)
    stored = whole.read([int(top["index"])]).image
    assert np.array_equal(stored[0], top["image"].values)
    probe = model_probe(trained.config)
    seen = trained.preprocess(stored)
    activation = probe.run(trained.at(0), seen, sites=("blocks.1.relu",))[1]["blocks.1.relu"]
    row, column = int(top["row"]), int(top["column"])
    # One image alone and in a batch: float32 sums in another order.
    assert np.isclose(activation[0, row, column, 0], top["value"], rtol=1e-5)
    upper, left, bottom, right = top["box"].values
    outside = np.array(stored)
    outside[:, upper:bottom, left:right] = 255 - outside[:, upper:bottom, left:right]
    inside = np.where(outside == stored, 255 - stored, stored)
    same = probe.run(trained.at(0), trained.preprocess(inside), sites=("blocks.1.relu",))[1]["blocks.1.relu"]
    assert np.isclose(same[0, row, column, 0], top["value"], rtol=1e-5)


def test_networks_can_be_loaded_again(smoke):
    trained = load_checkpoint(smoke[0] / "networks" / "trained")
    assert len(trained) == 2 and trained.treatment == "trained"
    moved = networks.kinds(SMALL_STUDY, trained.config.image_shape, trained.config.num_classes)[3]
    folder = smoke[0] / "networks" / "shuffled-points"
    assert len(load_checkpoint(folder, interventions=moved.interventions)) == 2


def test_the_report_draws_it(smoke, tmp_path):
    page = write_report(smoke[0], tmp_path / "report.html").read_text()
    assert "blocks.1.relu" in page and "inadmissible" in page


def test_an_existing_folder_is_refused_before_any_work(smoke, monkeypatch):
    monkeypatch.setattr(run, "load", None)
    before = sorted(os.listdir(smoke[0]))
    with pytest.raises(PwactError, match="overwrite"):
        run_study("smoke", smoke[0])
    assert sorted(os.listdir(smoke[0])) == before


def test_ctrl_c_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.synthetic, "calibrate", interrupted)
    with pytest.raises(KeyboardInterrupt, match="Nothing was written"):
        run_study("smoke", tmp_path / "out")
    assert os.listdir(tmp_path) == []


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
from pwact.errors import PwactError
from pwact.studies import run, run_study
run.synthetic.calibrate = None
try:
    run_study("smoke", sys.argv[1])
except PwactError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_a_full_disk_is_said_before_any_work(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("expected to write ") and "nothing was left behind" in done.stdout
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(run.synthetic, "calibrate", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(PwactError, match="to write"):
        run_study("smoke", tmp_path / "file" / "out")
    assert os.listdir(tmp_path) == ["file"]


def test_an_unknown_dataset_leaves_nothing(tmp_path):
    with pytest.raises(PwactError, match="no-such-set"):
        run_study(replace(preset("smoke"), dataset="no-such-set"), tmp_path / "out")
    assert os.listdir(tmp_path) == []
