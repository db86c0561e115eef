"""MLTP: does it pay to ask that a step on one batch also helps the next?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pwact.experiment_record import Part, Rule
from pwact.experiments.arms import Setting
from pwact.experiments.experiment import Claim, Experiment, Outcome, curve, number, paired, per_seed, table
from pwact.experiments.setting import base_recipe, digits_arm
from pwact.train.evaluate import evaluate
from pwact.train.recipe import Recipe
from pwact.updates import mltp, plain

IMAGES = (1000, 200)
EPOCHS, BATCH, LEARNING_RATE, CLIP = 25, 25, 0.05, 5.0
"""A step sees two batches: as many images as other experiments' steps."""

MLTP, FIRST, SAME, TWICE = "MLTP", "MLTP, first order", "SGD, equal epochs", "SGD, twice the epochs"

QUADRATIC = "largest relative error of the gradient on quadratics"
NETWORK = "largest relative error of the gradient of a network, Hessian written out"
WITHOUT = "largest relative difference from SGD on both batches, without a step ahead"


def recipes() -> dict[str, Recipe]:
    """The update and its controls.

    The sum of two batches' losses, at a learning rate and a clipping norm, is the mean over both batches at
    twice the rate and half the norm.
    """
    base = base_recipe(epochs=EPOCHS, schedule="cosine", batch_size=2 * BATCH)
    both = replace(base, learning_rate=2 * LEARNING_RATE, clip_norm=CLIP / 2)
    apart = replace(base, batch_size=BATCH, learning_rate=LEARNING_RATE, clip_norm=CLIP)
    return {
        MLTP: replace(apart, update="mltp()"),
        FIRST: replace(apart, update="mltp(first_order=True)"),
        SAME: both,
        TWICE: replace(both, epochs=2 * EPOCHS),
    }


def run(setting: Setting, progress: Callable[[str, float], None]) -> Outcome:
    """Check the gradient, then train on many images and on few, on the same seeds."""
    figures = [number(name, value) for name, value in exactness().items()]
    arms = [
        digits_arm(_named(name, images), images=images, recipe=recipe)
        for images in IMAGES
        for name, recipe in recipes().items()
    ]
    networks = setting.train(arms, progress)
    test = arms[0].test
    assert test is not None
    accuracy = {name: evaluate(trained, test).accuracy.values for name, trained in networks.items()}
    for name, values in accuracy.items():
        figures.append(per_seed(f"accuracy, {name}", values, "on 697 held-out digits"))
    for images in IMAGES:
        for one, other in ((MLTP, SAME), (FIRST, SAME), (MLTP, TWICE), (MLTP, FIRST)):
            pair = accuracy[_named(one, images)], accuracy[_named(other, images)]
            figures.append(paired(_gain(one, other, images), *pair))
    rows = [[name, *(accuracy[_named(name, images)].mean() for images in IMAGES)] for name in recipes()]
    lines = {
        name: trained.curves.accuracy.sel(split="test").values
        for name, trained in networks.items()
        if TWICE not in name
    }
    epochs = next(iter(lines.values())).shape[1]
    return Outcome(
        figures,
        [table("Accuracy, mean over seeds", ["update", *(f"{n} images" for n in IMAGES)], rows)],
        [curve("Test accuracy", "epoch", np.arange(1, epochs + 1), lines)],
        ["An epoch of MLTP costs about as much as two of SGD."],
    )


def exactness() -> dict[str, float]:
    """Relative errors of the gradient, in float32, against what is written out."""
    return {QUADRATIC: _quadratic_error(), NETWORK: _network_error(), WITHOUT: _without_step()}


def _quadratic_error() -> float:
    """L_i = 1/2 (p - a)' A (p - a): gradient A(p - a) + w (I - r A) B (p' - b), p' = p - r A (p - a)."""
    worst, rng = 0.0, np.random.default_rng(1919)
    for _ in range(10):
        root = rng.normal(size=(2, 5, 5))
        matrices, centres = root @ root.swapaxes(1, 2), rng.normal(size=(2, 5))
        params, rate, weight = rng.normal(size=5), rng.uniform(0.01, 0.1), rng.uniform(0.5, 2)
        here = matrices[0] @ (params - centres[0])
        there = matrices[1] @ (params - rate * here - centres[1])
        wanted = here + weight * (there - rate * matrices[0] @ there)

        def loss(p: Any, batch: Any, key: Any) -> Any:
            return 0.5 * (p - batch[1]) @ batch[0] @ (p - batch[1]), None

        batches = [(jnp.float32(matrices[i]), jnp.float32(centres[i])) for i in range(2)]
        found = _gradient(mltp(weight=weight), loss, jnp.float32(params), batches, rate)
        worst = max(worst, _error(found, wanted))
    return worst


def _perceptron() -> tuple[Callable[..., Any], Any, list[Any]]:
    """Loss, parameters in one vector, and two batches, of a network of two layers."""
    rng = np.random.default_rng(191919)
    inside, outside = (6, 8), (8, 3)
    params = jnp.float32(rng.normal(size=6 * 8 + 8 * 3) / 2)
    batches = [(jnp.float32(rng.normal(size=(10, 6))), jnp.int32(rng.integers(0, 3, 10))) for _ in "ij"]

    def loss(p: Any, batch: Any, key: Any) -> Any:
        hidden = jnp.tanh(batch[0] @ p[:48].reshape(inside))
        scores = jax.nn.log_softmax(hidden @ p[48:].reshape(outside))
        return -jnp.take_along_axis(scores, batch[1][:, None], 1).mean(), None

    return loss, params, batches


def _network_error() -> float:
    loss, params, batches = _perceptron()
    rate = 0.5

    def of(batch: Any) -> Callable[[Any], Any]:
        return lambda p: loss(p, batch, None)[0]

    here, hessian = jax.grad(of(batches[0]))(params), jax.hessian(of(batches[0]))(params)
    there = jax.grad(of(batches[1]))(params - rate * here)
    return _error(_gradient(mltp(), loss, params, batches, rate), here + there - rate * hessian @ there)


def _without_step() -> float:
    loss, params, batches = _perceptron()
    both = [tuple(jnp.concatenate(part) for part in zip(*batches, strict=True))]
    wanted = 2 * np.asarray(_gradient(plain(), loss, params, both, 0.1))
    return _error(_gradient(mltp(step_size=0.0), loss, params, batches, 0.1), wanted)


def _gradient(rule: Any, loss: Any, params: Any, batches: Any, rate: float) -> Any:
    return rule.gradient(loss, params, tuple(batches), (None,) * len(batches), jnp.float32(rate))[2]


def _error(found: Any, wanted: Any) -> float:
    """Largest difference, relative to the largest component."""
    return float(np.abs(np.asarray(found) - np.asarray(wanted)).max() / np.abs(np.asarray(wanted)).max())


def _named(name: str, images: int) -> str:
    return f"{name}, {images} images"


def _gain(one: str, other: str, images: int) -> str:
    return f"accuracy with {images} images, {one} - {other}"


EXPERIMENT = Experiment(
    number=19,
    name="mltp",
    title="MLTP: meta-learning training procedure for ordinary supervision",
    paper="Deng, Zhang, Meta-learning training procedure, arXiv 2002.12455",
    claim="Updating so that a step on one mini-batch also helps a new one improves classifiers consistently.",
    parts=(
        Part("each mini-batch is a task, and a step should help a new one", "abstract"),
        Part("one step of look-ahead, equal weights, step size and order of batches", "reconstruction"),
    ),
    criteria=(
        Rule(QUADRATIC, "<=", 1e-5, source="float32 against float64"),
        Rule(NETWORK, "<=", 1e-5, source="float32"),
        Rule(WITHOUT, "<=", 1e-5, source="float32"),
        Rule(_gain(MLTP, SAME, 1000), ">=", -0.008, source="noise of a seed is .007"),
        Rule(_gain(MLTP, SAME, 200), ">=", 0.01, source="a pilot on other seeds found .04"),
    ),
    claims=(
        Claim(
            "It improves on SGD with as many epochs.",
            "abstract",
            tuple(Rule(_gain(MLTP, SAME, images), ">", 0) for images in IMAGES),
        ),
        Claim(
            "It improves on SGD that spends as many gradients.",
            "reconstruction",
            tuple(Rule(_gain(MLTP, TWICE, images), ">", 0) for images in IMAGES),
            "The fair control: a step of MLTP costs about twice that of SGD on the same images.",
        ),
        Claim(
            "The product with the Hessian matters.",
            "reconstruction",
            tuple(Rule(_gain(MLTP, FIRST, images), ">", 0) for images in IMAGES),
        ),
        Claim(
            "It improves on CIFAR-10, CIFAR-100 and Tiny ImageNet.",
            "abstract",
            because="digits alone are used",
        ),
    ),
    first_seed=1910,
    seeds=5,
    run=run,
    remarks=(
        "The learning rate falls along half a cosine, which was changed after a first run on seeds 1900 to "
        "1904 had missed the criterion with 200 images at a constant rate: -.0003, from -.067 to .067. The "
        "reason was looked for on 20 other seeds (200 to 219): at a constant rate the gain is .009 and "
        "deviates by .053 over seeds, which five cannot tell from .01; where the rate falls it is .017 and "
        "deviates by .011. The seeds used now were not seen before that change. At a constant rate the "
        "criterion remains missed.",
    ),
)
