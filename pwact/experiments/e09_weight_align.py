"""WeightAlign: is accuracy the same with any batch size, and does it train a deep network without skips?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pwact.experiment_record import Part, Rule
from pwact.experiments.arms import Setting, accuracies
from pwact.experiments.experiment import Claim, Experiment, Outcome, curve, number, paired, per_seed, table
from pwact.experiments.identity import Arm
from pwact.experiments.setting import base_config, base_recipe, digits_arm

BATCHES = (2, 8, 64)
DEPTH, WIDTH = 16, 16
NONE, ALIGNED, CENTRED = "none", "WA", "WA centred"
NORMS = {
    ALIGNED: "weight_align()",
    NONE: "none",
    "GN": "group",
    "BN": "batch",
    "WA + GN": "stack(weight_align(), group())",
    "WA + BN": "stack(weight_align(), batch())",
}
"""Of the shallow networks."""

DEEP = {NONE: "none", ALIGNED: "weight_align()", CENTRED: "weight_align('centred')", "BN": "batch"}
"""Of the deep ones."""


def run(setting: Setting, progress: Callable[[str, float], None]) -> Outcome:
    """Train shallow networks with three batch sizes, and deep ones, with and without norms."""
    arms = _arms()
    networks = setting.train(arms, progress, end=0.98)
    accuracy = accuracies(arms, networks)
    figures = [per_seed(f"accuracy, {name}", values, "697 test digits") for name, values in accuracy.items()]
    means = {norm: [accuracy[_shallow(norm, batch)].mean() for batch in BATCHES] for norm in NORMS}
    figures += [
        number(_spread(norm), max(values) - min(values), "of means over seeds")
        for norm, values in means.items()
    ]
    figures += [
        paired(_gain(norm), accuracy[_deep(norm)], accuracy[_deep(NONE)]) for norm in DEEP if norm != NONE
    ]
    lines = {norm: networks[_deep(norm)].curves.accuracy.sel(split="test").values for norm in DEEP}
    epochs = np.arange(1, lines[NONE].shape[1] + 1)
    return Outcome(
        figures,
        [
            table(
                "Accuracy by batch size, means over seeds",
                ["norm", *(f"batch {batch}" for batch in BATCHES)],
                [[norm, *values] for norm, values in means.items()],
            ),
            table(
                f"Accuracy of {DEPTH} layers, each seed",
                ["norm", *(str(seed) for seed in setting.seeds)],
                [[norm, *accuracy[_deep(norm)]] for norm in DEEP],
            ),
        ],
        [curve(f"Test accuracy of {DEPTH} layers", "epoch", epochs, lines)],
    )


def _arms() -> list[Arm]:
    arms = [
        digits_arm(
            _shallow(norm, batch),
            config=base_config(norm=text),
            recipe=base_recipe(epochs=15, batch_size=batch, learning_rate=0.1 * batch / 64),
        )
        for norm, text in NORMS.items()
        for batch in BATCHES
    ]
    shape = {"widths": (WIDTH,) * DEPTH, "strides": (2, *(1,) * (DEPTH - 1))}
    return arms + [
        digits_arm(
            _deep(norm),
            config=base_config(norm=text, **shape),
            recipe=base_recipe(epochs=12, batch_size=50, learning_rate=0.05),
        )
        for norm, text in DEEP.items()
    ]


def _shallow(norm: str, batch: int) -> str:
    return f"{norm}, batch {batch}"


def _deep(norm: str) -> str:
    return f"{norm}, {DEPTH} layers"


def _spread(norm: str) -> str:
    return f"range of accuracy over batch sizes, {norm}"


def _gain(norm: str) -> str:
    return f"accuracy of {DEPTH} layers, {norm} - none"


EXPERIMENT = Experiment(
    number=9,
    name="weight_align",
    title="WeightAlign: filters of mean zero and fixed length",
    paper="Shi, Li, Liu, van Gemert, WeightAlign, ICPR 2020, arXiv 2010.07160",
    claim="Normalising filters instead of activations makes training independent of the batch size.",
    parts=(
        Part("mean and scaled deviation within a filter", "abstract"),
        Part("the learnt scale", "reconstruction", "from a summary by others"),
        Part("the factor n/2", "reconstruction", "from He's rule of variances"),
        Part("the gain `centred`", "reconstruction", "of normaliser-free ResNets, not of this paper"),
    ),
    criteria=(
        Rule(_spread(ALIGNED), "<=", 0.015, source="a pilot found .001"),
        Rule(
            f"accuracy, {_deep(CENTRED)}", ">=", 0.9, over="every seed", source="a pilot found .95, .97, .96"
        ),
        Rule(_gain(CENTRED), ">=", 0.3, source="a pilot found .65"),
    ),
    claims=(
        Claim(
            "A network without norms needs it to become deep.",
            "reconstruction",
            (Rule(_gain(CENTRED), ">", 0), Rule(_gain(ALIGNED), ">", 0)),
        ),
        Claim(
            "It is better than batch normalisation where batches are small.",
            "abstract",
            because="batch normalisation does not fail with batches of 2 of maps with 16 points or more",
        ),
        Claim(
            "It helps on CIFAR, ImageNet, segmentation and domain adaptation.",
            "abstract",
            because="digits alone are used",
        ),
    ),
    first_seed=900,
    seeds=3,
    run=run,
    remarks=(
        "The first run missed the gain of .30 by .002: aligned networks reach a pilot's level (.95), but "
        "those without a norm reach .66, .71 and .59, where the pilot found .08, .23 and .61. Without a norm "
        "a network trains or does not as its seed has it: on four other seeds, looked at afterwards, .71, "
        ".10, .10 and .85. A mean over three seeds is as uncertain as that.",
    ),
)
