"""Quadratic convolutions: do they see what a linear one cannot, and what do they cost on digits?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pwact.data.arrays import arrays
from pwact.data.dataset import ArrayDataset
from pwact.data.preprocess import Preprocess
from pwact.experiment_record import Part, Rule
from pwact.experiments.arms import Setting, accuracies
from pwact.experiments.experiment import Claim, Experiment, Outcome, curve, number, paired, per_seed, table
from pwact.experiments.identity import Arm
from pwact.experiments.setting import base_config, base_recipe, digits_arm
from pwact.models.config import ModelConfig
from pwact.models.counts import parameters

SIDE, AGREEMENTS = 12, (0.25, 0.75)
TRAIN, TEST = 1000, 1000
SIGNS = Preprocess((0.5,), (0.5,))
"""Pixels 0 and 1 become -1 and 1."""

LINEAR, LINEAR_ELU = "linear, no activation", "linear, ELU"
QUADRATIC, QUADRATIC_ELU = "one quadratic filter, no activation", "one quadratic filter, ELU"
TEXTURES = {
    LINEAR: {"widths": (8,), "layer": "conv", "activation": "linear"},
    LINEAR_ELU: {"widths": (8,), "layer": "conv", "activation": "elu"},
    QUADRATIC: {"widths": (1,), "layer": "quadratic", "activation": "linear"},
    QUADRATIC_ELU: {"widths": (1,), "layer": "quadratic", "activation": "elu"},
}

PLAIN, FORM, MATCHED = "linear, digits", "quadratic, digits", "linear of as many parameters, digits"
DIGITS = {
    PLAIN: {"widths": (8, 8), "layer": "conv"},
    FORM: {"widths": (8, 8), "layer": "quadratic"},
    MATCHED: {"widths": (62, 62), "layer": "conv"},
}
IMAGES, LEARNING_RATE = 200, 0.05
GAIN, OVER_MATCHED = "accuracy, quadratic - linear, digits", "accuracy, quadratic - matched linear, digits"


def run(setting: Setting, progress: Callable[[str, float], None]) -> Outcome:
    """Train single layers on textures of the second order, and small networks on digits."""
    arms = _arms()
    networks = setting.train(arms, progress, end=0.98)
    accuracy = accuracies(arms, networks)
    figures = [per_seed(f"accuracy, {name}", values) for name, values in accuracy.items()]
    figures += [
        paired(GAIN, accuracy[FORM], accuracy[PLAIN], "697 test digits"),
        paired(OVER_MATCHED, accuracy[FORM], accuracy[MATCHED], "697 test digits"),
    ]
    counts = {arm.name: parameters(arm.config) for arm in arms}
    figures += [number(f"parameters, {name}", counts[name]) for name in DIGITS]
    rows = [[name, counts[name], values.mean(), values.min()] for name, values in accuracy.items()]
    lines = {name: networks[name].curves.accuracy.sel(split="test").values for name in DIGITS}
    epochs = np.arange(1, lines[PLAIN].shape[1] + 1)
    return Outcome(
        figures,
        [table("Accuracy", ["network", "parameters", "mean", "least of a seed"], rows)],
        [curve(f"Test accuracy, {IMAGES} digits", "epoch", epochs, lines)],
    )


def textures(images: int, seed: int) -> ArrayDataset:
    """Images of 0 and 1 whose classes differ in the second order alone: in how often neighbours agree.

    Each row is a Markov chain that begins with a fair coin; horizontal neighbours agree with probability .25
    in class 0 and .75 in class 1, so every pixel is 1 half of the time in both.

    Args:
        images: how many; half of them of each class.
        seed: of the generator.

    Example:
        >>> data = textures(400, 0)
        >>> agree = (data.images[:, :, 1:] == data.images[:, :, :-1]).mean((1, 2, 3))
        >>> [round(float(agree[data.labels == label].mean()), 2) for label in (0, 1)]
        [0.25, 0.75]
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    turns = rng.random((images, SIDE, SIDE)) >= np.array(AGREEMENTS)[labels][:, None, None]
    turns[:, :, 0] = rng.random((images, SIDE)) < 0.5
    pixels = np.cumsum(turns, 2) % 2
    name = f"textures of the second order, seed {seed}"
    return arrays(pixels[..., None].astype(np.uint8), labels, num_classes=2, name=name)


def _arms() -> list[Arm]:
    train, test = textures(TRAIN, 2290), textures(TEST, 2291)
    arms = [
        Arm(
            name,
            ModelConfig(
                (SIDE, SIDE, 1),
                2,
                strides=(1,),
                first_kernel_size=3,
                norm="none",
                **fields,  # type: ignore[arg-type]
            ),
            base_recipe(),
            train,
            test,
            SIGNS,
        )
        for name, fields in TEXTURES.items()
    ]
    return arms + [
        digits_arm(
            name,
            images=IMAGES,
            config=base_config(strides=(2, 1), head="flatten", activation="elu", **fields),
            recipe=base_recipe(learning_rate=LEARNING_RATE),
        )
        for name, fields in DIGITS.items()
    ]


EXPERIMENT = Experiment(
    number=22,
    name="cqnn",
    title="CQNN: each filter a quadratic form of its patch",
    paper="Mantini, Shah, CQNN: convolutional quadratic neural networks, ICPR 2020",
    claim="Quadratic units in the place of linear ones make convolutional networks more accurate.",
    parts=(
        Part("the quadratic unit, its sign and initial values", "code"),
        Part("networks, images and steps", "reconstruction"),
    ),
    criteria=(
        Rule(f"accuracy, {QUADRATIC}", ">=", 0.99, over="every seed", source="a pilot found 1.00"),
        Rule(f"accuracy, {LINEAR}", "<=", 0.6, over="every seed", source="chance is .50"),
        Rule(GAIN, ">=", -0.01, source="a pilot gained .007"),
    ),
    claims=(
        Claim(
            "Quadratic units are more accurate than linear ones.",
            "abstract",
            (Rule(GAIN, ">", 0),),
            "On CIFAR there; on 200 digits here.",
        ),
        Claim(
            "They are more accurate than as many parameters in linear units.",
            "reconstruction",
            (Rule(OVER_MATCHED, ">", 0),),
            "The paper is silent on it as far as it could be read.",
        ),
    ),
    first_seed=2200,
    seeds=3,
    run=run,
    remarks=(
        "At the learning rate of .1 that other experiments have, quadratic networks fail to train on some "
        "seeds: on these very seeds the mean was .066 below the linear ones, and that run missed the "
        "criterion. The rate has been halved for all networks on digits since, after a look at four other "
        "seeds, where the mean was .74 at .1 and .92 at .05.",
        "With that the criterion is still missed (-.019): quadratic networks do as in the pilot (.93; "
        "there .92), but linear ones do better (.94; there .91), and as many linear parameters better yet.",
        "A linear layer without activation sees the classes' second order after all, if little: the mean "
        "over points has the same mean in both, but three times the deviation in one, and a threshold on one "
        "side of it decides up to 62 % rightly. So a seed may lie above .60, and one does (.609).",
    ),
)
