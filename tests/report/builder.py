"""A whole study that nobody ran: realistic numbers from a fixed seed, in the files that a study leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from pwact.records import (
    Calibration,
    Control,
    Criterion,
    Interval,
    Network,
    PlantedCheck,
    StudyRecord,
    Verdict,
    write_record,
)

NETWORKS = ["trained", "shuffled labels", "untrained", "small receptive field"]
SITES = {
    "blocks.0.relu": (14, 16),
    "blocks.1.relu": (14, 24),
    "blocks.2.relu": (7, 32),
    "blocks.3.relu": (7, 32),
}
CLASSES = [str(i) for i in range(10)]
SEEDS, EPOCHS, RANKS, IMAGE = 10, 20, 9, 28
RUN = "5e1f" * 16
RETAINED = "retained accuracy, trained shuffled"


def around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)


def record(**changes) -> StudyRecord:
    """The study's words and tables; `changes` replace fields."""
    rng = np.random.default_rng(7)
    p1 = Verdict(
        "P1",
        "A",
        "Arrangement",
        "undetermined",
        0.214,
        0.214,
        [
            Criterion("AII_s", "support", "lower", 0.5, False, around(0.412, 0.061), False),
            Criterion("AII_s - AII_i", "support", "lower", 0.1, True, around(0.245, 0.052), True),
            Criterion(RETAINED, "support", "lower", 0.95, False, around(0.921, 0.012), False),
            Criterion(RETAINED, "refute", "upper", 0.85, True, around(0.921, 0.012), False),
        ],
        [
            Control("AII_s", "shuffled labels", around(0.102, 0.048)),
            Control("AII_s", "untrained", around(0.871, 0.083)),
            Control("AII_s", "small receptive field", around(0.688, 0.055)),
        ],
        "Decisions survive a joint shuffle of the point vectors only in part, and a network that was trained "
        "shuffled keeps 92 % of its accuracy: too much to refute, too little to support.",
        "AII = (agreement − chance) / (1 − chance) over 16 permutations an image; the interval is a "
        "bootstrap over seeds, then images, with 10,000 draws.",
    )
    p4 = Verdict(
        "P4",
        "B",
        "Concentration",
        "supported",
        0.0001,
        0.0002,
        [
            Criterion("Gini", "support", "lower", 0.6, False, around(0.713, 0.02), True),
            Criterion("Gini, trained - untrained", "support", "lower", 0.0, True, around(0.264, 0.041), True),
            Criterion(
                "Gini, trained - shuffled labels", "support", "lower", 0.0, True, around(0.12, 0.037), True
            ),
            Criterion(
                "Gini, trained - untrained", "refute", "upper", 0.0, False, around(0.264, 0.041), False
            ),
        ],
        [
            Control("Gini", "shuffled labels", around(0.593, 0.031)),
            Control("Gini", "untrained", around(0.449, 0.035)),
            Control("Hoyer", "trained", around(0.51, 0.03)),
            Control("k90/P", "trained", Interval(np.nan, np.nan, np.nan)),
        ],
        "A few points carry the margin, and they do so because the network learnt: both "
        "differences lie above zero.",
        "c_p = (w_y − w_c)·a_p / P for every point of the last map; the Gini index of its positive part.",
    )
    calibration = [
        Calibration(
            "AII_s",
            "P1",
            1.0,
            0.95,
            rng.normal(0.93, 0.03, SEEDS).clip(0, 1).tolist(),
            rng.normal(0.18, 0.06, SEEDS).tolist(),
            [
                PlantedCheck("sum of point scores", "1", 1.0, True),
                PlantedCheck("reads arrangement", "at most 0.1", 0.012, True),
            ],
            True,
            "AII_s of ten networks trained on each set; the AUROC is that of telling one from the other.",
        ),
        Calibration(
            "Gini of positive contributions",
            "P4",
            0.97,
            0.95,
            rng.normal(0.81, 0.04, SEEDS).tolist(),
            rng.normal(0.66, 0.06, SEEDS).tolist(),
            [PlantedCheck("reads exactly 4 points", "1 − 4/49", 0.918, True)],
            True,
            "As on the study's networks, on the synthetic sets.",
        ),
    ]
    networks = [
        Network("trained", "true labels", SEEDS, "test", around(0.958, 0.003), 24_874, 41.2),
        Network("shuffled labels", "labels permuted once", SEEDS, "train", around(0.624, 0.02), 24_874, 41.9),
        Network("untrained", "as initialised", SEEDS, "test", around(0.099, 0.012), 24_874, 0.4),
        Network(
            "small receptive field", "sees 9 × 9 pixels", SEEDS, "test", around(0.913, 0.006), 21_034, 38.0
        ),
    ]
    fields = dict(
        title="Point-wise activation on mnist5k",
        question="Does a small CNN decide by a bag of point vectors, and do few of them suffice?",
        preset="quick",
        dataset={"name": "mnist5k", "images": 5000, "image_shape": [28, 28, 1], "fingerprint": "9f2c" * 16},
        configuration={
            "model": {"widths": [16, 24, 32, 32], "strides": [2, 1, 2, 1], "first_kernel": 5, "norm": "none"},
            "train": {"epochs": 20, "batch_size": 128, "learning_rate": 0.003, "weight_decay": 0.0005},
            "primary_site": "blocks.1.relu",
            "beta": 0.1,
            "tau": 0.9,
            "p1": {
                "permutations": 16,
                "aii_s": 0.5,
                "difference": 0.1,
                "retained": 0.95,
                "refute_retained": 0.85,
            },
            "p4": {"gini": 0.6},
            "bootstrap": {"draws": 10000, "level": 0.95},
            "calibration": {"auroc": 0.95, "seeds": 10},
        },
        summary=[
            "P1 (arrangement): undetermined. AII_s 0.41 [0.35, 0.47]; retained accuracy 0.92 [0.91, 0.93].",
            "P4 (concentration): supported. Gini 0.71 [0.69, 0.73], above untrained by 0.26.",
            "Both metrics passed their calibration: AUROC 1.00 and 0.97.",
            "Trained networks reach 95.8 % [95.5, 96.1] on held-out images.",
            "40 networks on mnist5k in 4 min 12 s.",
        ],
        networks=networks,
        calibration=calibration,
        verdicts=[p1, p4],
        limits=[
            "A support speaks for our reading of a hypothesis that is known from its abstract only.",
            "Filling removed points leaves the distribution of the data; two fills lessen that.",
            "Figures of small images do not compare with those of ImageNet.",
        ],
        provenance={
            "versions": {"pwact": "0.1.0", "jax": "0.10.2", "flax": "0.12.8"},
            "device": "cpu",
            "run_sha256": RUN,
            "parameters": "a41b" * 16,
            "split": "77de" * 16,
            "seed": 0,
            "time": "2025-01-01T12:00:00+00:00",
        },
    )
    return StudyRecord(**{**fields, **changes})


def arrays(networks: list[str] = NETWORKS, classes: list[str] = CLASSES) -> xr.DataTree:
    """The study's arrays, with the names and dimensions of docs/design.md."""
    rng = np.random.default_rng(11)
    return xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"run_sha256": RUN})}
        | {"/curves": _curves(rng, networks), "/p1": _p1(rng, networks), "/p4": _p4(rng, networks)}
        | {f"/maps/{site}": _maps(rng, *shape, classes) for site, shape in SITES.items()}
        | {f"/top/{site}": _top(rng, *shape) for site, shape in SITES.items()}
    )


def write(folder: Path, study: StudyRecord | None = None, tree: xr.DataTree | None = None) -> Path:
    """A run folder with both files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_record(study or record(), folder / "study.json")
    (tree if tree is not None else arrays()).to_netcdf(folder / "arrays.nc", engine="h5netcdf")
    return folder


def _curves(rng, networks) -> xr.Dataset:
    decay = np.exp(-np.arange(EPOCHS) / 4)
    ends = np.linspace(0.02, 1.2, len(networks))[:, None, None]
    loss = ends + (2.3 - ends) * decay + rng.normal(0, 0.03, (len(networks), SEEDS, EPOCHS)).clip(-0.05, 0.05)
    loss[networks.index("untrained")] = np.nan
    dims, both = ("network", "seed", "epoch", "split"), np.stack([loss, loss + 0.1], -1)
    return xr.Dataset(
        {"loss": (dims, both), "accuracy": (dims, 0.97 - 0.3 * both, {"long_name": "Accuracy"})},
        {"network": networks, "epoch": np.arange(1, EPOCHS + 1), "split": ["train", "test"]},
    )


def _p1(rng, networks) -> xr.Dataset:
    level = rng.uniform(0.1, 0.9, (len(networks), 1, len(SITES)))
    aii = (level + rng.normal(0, 0.04, (len(networks), SEEDS, len(SITES)))).clip(-0.1, 1)
    dims, names = ("network", "seed", "site"), {"network": networks, "site": list(SITES)}
    return xr.Dataset(
        {
            "agreement": (dims, aii),
            "aii_s": (dims, aii),
            "aii_i": (dims, 0.5 * aii),
            "aii_s_pooled": (("network", "site"), aii.mean(1) + 0.001),
            "aii_i_pooled": (("network", "site"), 0.5 * aii.mean(1)),
        },
        names,
    )


def _p4(rng, networks) -> xr.Dataset:
    power = np.linspace(5, 2, len(networks))[:, None, None] + rng.normal(0, 0.2, (len(networks), SEEDS, 1))
    share = np.linspace(0, 1, 51)
    gini = rng.beta(8, 3, (len(networks), SEEDS, 40))
    image = ("network", "seed", "image")
    kappa = rng.uniform(0.2, 0.9, (len(networks), 1, 3, 2)) + rng.normal(
        0, 0.03, (len(networks), SEEDS, 3, 2)
    )
    return xr.Dataset(
        {
            "gini": (image, gini),
            "hoyer": (image, 0.8 * gini),
            "k90": (image, 1 - gini),
            "lorenz": (("network", "seed", "quantile"), share**power),
            "kappa": (("network", "seed", "order", "fill"), kappa),
            "kappa_pooled": (("network", "order", "fill"), kappa.mean(1)),
        },
        {
            "network": networks,
            "quantile": share,
            "order": ["contribution", "random", "blob"],
            "fill": ["dataset mean", "other image"],
        },
    )


def _maps(rng, size, channels, classes) -> xr.Dataset:
    at = np.arange(size) + 0.5
    middle = rng.uniform(0, size, (2, len(classes), channels))
    width = rng.uniform(1, size / 3, (len(classes), channels))
    far = (at[:, None, None, None] - middle[0]) ** 2 + (at[None, :, None, None] - middle[1]) ** 2
    bump = np.moveaxis(np.exp(-far / (2 * width**2)), 2, 0).astype(np.float32)
    dims = ("class", "row", "column", "channel")
    mean = bump * rng.uniform(0.2, 3, (len(classes), 1, 1, channels)).astype(np.float32)
    return xr.Dataset({"mean": (dims, mean), "firing": (dims, bump.clip(0, 1))}, {"class": classes})


def _top(rng, size, channels) -> xr.Dataset:
    cell = ("channel", "rank")
    at = np.arange(IMAGE)
    loops = rng.uniform(6, 22, (2, channels, RANKS, 1, 1, 1))
    ring = np.hypot(at[:, None, None] - loops[0], at[None, :, None] - loops[1])
    image = (255 * np.exp(-((ring - 6) ** 2) / 4)).astype(np.uint8)
    row, column = rng.integers(0, size, (2, channels, RANKS))
    stride = IMAGE / size
    centre = np.stack([row, column, row, column], -1) * stride + stride / 2
    box = (centre + 5.5 * np.array([-1, -1, 1, 1])).round().astype(np.int64)
    value = -np.sort(-rng.gamma(4, 1, (channels, RANKS)))
    index = rng.integers(0, 5000, (channels, RANKS))
    return xr.Dataset(
        {
            "value": (cell, value.astype(np.float32)),
            "index": (cell, index),
            "row": (cell, row),
            "column": (cell, column),
            "image": ((*cell, "image_row", "image_column", "image_channel"), image),
            "box": ((*cell, "edge"), box),
        }
    )
