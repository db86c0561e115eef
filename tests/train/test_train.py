"""Training does what the recipe says, for each seed alone, whoever its company is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from pwact.core import backend
from pwact.data import Preprocess, arrays, bag, subset
from pwact.errors import NonFiniteError, PwactError
from pwact.models import ModelConfig, build
from pwact.objectives.objective import Objective
from pwact.train import (
    Intervention,
    Member,
    evaluate,
    load_checkpoint,
    predict,
    train,
)
from pwact.train.checkpoint import saved_steps
from pwact.train.treatment import stream


def equal(one, other):
    return all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def test_one_epoch_against_a_plain_loop(config, parts, recipe):
    """The same steps written out: lax convolutions, one jitted step, Python loop, optax's own adamw."""
    recipe = dataclasses.replace(recipe, epochs=1, objective="cross_entropy(label_smoothing=0.1)")
    data = parts["train"]
    found = train(config, data, seeds=[7], recipe=recipe).at(0)
    images = Preprocess.standardise(data)(data.read(np.arange(len(data))).image)
    labels = jnp.asarray(data.labels)
    order = jax.random.permutation(jax.random.fold_in(stream(jax.random.key(7), "order"), 0), len(data))
    steps = len(data) // 32
    # optax's rule at step t with warm-up w: peak (0.01 + 0.99 t / w), then peak (1 + cos(pi u)) / 2.
    warm = round(0.2 * steps)
    rate = [
        1e-2 * (0.01 + 0.99 * t / warm if t < warm else (1 + np.cos(np.pi * (t - warm) / (steps - warm))) / 2)
        for t in range(steps)
    ]
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            lambda count: jnp.array(rate)[count],
            weight_decay=1e-2,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )
    graph, params, rest = nnx.split(build(config, 7), nnx.Param, ...)
    state = optimizer.init(params)

    @jax.jit
    def step(params, rest, state, image, label):
        def loss(params):
            model = nnx.merge(graph, params, rest, copy=True)
            log_p = jax.nn.log_softmax(model(image))
            target = 0.9 * jax.nn.one_hot(label, 3) + 0.1 / 3
            return -(target * log_p).sum(-1).mean(), nnx.split(model, nnx.Param, ...)[2]

        slope, rest_ = jax.grad(loss, has_aux=True)(params)
        change, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, change), rest_, state

    for t in range(steps):
        at = order[t * 32 : t * 32 + 32]
        params, rest, state = step(params, rest, state, images[at], labels[at])
    # Six steps of Adam, whose first steps have the size of the rate whatever the gradient's: rounding of 1e-7
    # in a gradient near 0 can turn into 1e-4 of a weight, so weights are compared at a hundredth of a step.
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(nnx.merge_state(params, rest)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_seed_gives_the_same_bits_alone_and_in_company(config, parts, recipe, trained):
    alone = train(config, parts["train"], seeds=[5], recipe=recipe, test=parts["test"])
    assert equal(alone.at(0), trained.at(1))
    np.testing.assert_array_equal(alone.curves.loss[:, 0], trained.curves.loss[:, 1])


def test_the_plan_of_accelerators_trains_the_same_networks(config, parts, recipe, monkeypatch):
    """All seeds in one program, an epoch a scan, convolutions as slices: the other branch of the backend."""
    options = {"seeds": [3, 5], "recipe": dataclasses.replace(recipe, epochs=2), "test": parts["test"]}
    apart = train(config, parts["train"], **options)
    monkeypatch.setattr(
        backend,
        "seed_plan",
        lambda seeds, devices=1: backend.SeedPlan(seeds, 1, scan=True, convolution="slices"),
    )
    together = train(config, parts["train"], **options)
    # Twelve steps of Adam at 1e-2: rounding of 1e-7 may grow to some 1e-3 where a gradient is near 0.
    np.testing.assert_allclose(together.curves.loss, apart.curves.loss, rtol=1e-2)
    for a, b in zip(jax.tree.leaves(together.variables), jax.tree.leaves(apart.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=5e-3)
    np.testing.assert_array_equal(evaluate(together, parts["test"]).loss, together.curves.loss[1, :, -1])


def test_another_seed_gives_another_network(trained):
    assert not any(
        np.array_equal(leaf[0], leaf[1]) for leaf in jax.tree.leaves(trained.variables) if leaf.ndim > 2
    )


def test_batch_norm_keeps_running_statistics_for_each_seed(trained):
    mean = np.asarray(trained.variables["blocks"][0]["norm"]["mean"][...])
    assert mean.shape == (3, 4) and (mean != 0).all()
    assert not np.array_equal(mean[0], mean[1])


def test_curves_end_with_what_evaluate_finds(trained, parts):
    assert dict(trained.curves.sizes) == {"split": 2, "seed": 3, "epoch": 3}
    found = evaluate(trained, parts["test"])
    for name in ("loss", "accuracy"):
        np.testing.assert_array_equal(trained.curves[name].sel(split="test", epoch=3), found[name])
    assert (
        trained.curves.loss.sel(split="train", epoch=3) < trained.curves.loss.sel(split="train", epoch=1)
    ).all()


def test_shuffled_labels_are_permuted_for_each_seed_and_kept(config, parts, recipe):
    data = parts["train"]
    shuffled = train(config, data, seeds=[5, 3], recipe=recipe, treatment="shuffled_labels")
    assert shuffled.labels.shape == (2, len(data))
    for labels in shuffled.labels:
        np.testing.assert_array_equal(np.bincount(labels), np.bincount(data.labels))
        assert (labels == data.labels).mean() < 0.5  # a third is expected, with a deviation of 0.03
    assert (shuffled.labels[0] != shuffled.labels[1]).any()
    again = train(config, data, seeds=[3], recipe=recipe, treatment="shuffled_labels")
    np.testing.assert_array_equal(again.labels[0], shuffled.labels[1])
    assert equal(again.at(0), shuffled.at(1))


def test_untrained_is_what_build_gives(config, parts, recipe):
    untrained = train(
        config, parts["train"], seeds=[4, 9], recipe=recipe, test=parts["test"], treatment="untrained"
    )
    # One program draws all variables: it may fuse the scaling differently than a call of build does.
    for a, b in zip(
        jax.tree.leaves(untrained.at(1)), jax.tree.leaves(nnx.state(build(config, 9))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert untrained.curves.sizes["epoch"] == 0


def test_a_batch_larger_than_the_data_is_refused(config, parts, recipe):
    few = subset(parts["train"], range(20))
    with pytest.raises(PwactError, match=r"no more images a step than the 20 of .*set batch_size to 20"):
        train(config, few, seeds=[0], recipe=recipe)


def test_an_intervention_that_changes_nothing_is_the_plain_training(config, parts, recipe):
    one_step = dataclasses.replace(recipe, epochs=1, batch_size=len(parts["train"]))
    plain = train(config, parts["train"], seeds=[1], recipe=one_step)
    same = Intervention("blocks.0.relu", lambda key, activation: activation)
    through = train(config, parts["train"], seeds=[1], recipe=one_step, interventions=[same])
    # The probe emits the same operations; XLA may fuse them otherwise. One step, so rounding cannot grow.
    np.testing.assert_allclose(through.curves.loss, plain.curves.loss, rtol=1e-5)
    mean = [found.variables["blocks"][1]["norm"]["mean"][...] for found in (plain, through)]
    np.testing.assert_allclose(*mean, atol=1e-5)


def test_an_intervention_stays_in_place(config, parts, recipe):
    silence = Intervention("blocks.1.relu", lambda key, activation: activation * 0)
    silent = train(config, parts["train"], seeds=[1, 2], recipe=recipe, interventions=[silence])
    logits = predict(silent, parts["test"])
    assert (logits == logits[:, :1]).all(), "with nothing above the site every image gets the same logits"
    assert (logits[0, 0] != logits[1, 0]).any()


def test_an_intervention_draws_anew_in_each_step_and_the_same_in_each_evaluation(config, parts, recipe):
    def noise(key, activation):
        return activation + jax.random.normal(key, activation.shape)

    noisy = train(
        config,
        parts["train"],
        seeds=[1, 2],
        recipe=recipe,
        interventions=[Intervention("blocks.0.relu", noise)],
    )
    first = predict(noisy, parts["test"])
    np.testing.assert_array_equal(first, predict(noisy, parts["test"]))
    plain = predict(dataclasses.replace(noisy, interventions=()), parts["test"])
    assert (first != plain).any((1, 2)).all()


def test_an_intervention_at_an_unknown_site_lists_the_nearest(config, parts, recipe):
    nowhere = Intervention("blocks.1.rely", lambda key, activation: activation)
    with pytest.raises(PwactError, match=r"blocks\.1\.relu"):
        train(config, parts["train"], seeds=[1], recipe=recipe, interventions=[nowhere])


def test_progress_is_told_after_every_epoch(config, parts, recipe):
    told = []
    train(
        config,
        parts["train"],
        seeds=[3],
        recipe=recipe,
        test=parts["test"],
        progress=lambda *what: told.append(what),
    )
    assert [what[:2] for what in told] == [(6, 18), (12, 18), (18, 18)]
    assert "test accuracy" in told[0][2]


def test_a_loss_that_is_not_finite_names_seed_epoch_and_step(config, recipe):
    # Pixels near float32's largest number overflow in the first convolution's sums.
    wild = arrays(np.random.default_rng(0).uniform(-3e38, 3e38, (64, 20, 20, 1)), np.arange(64) % 3)
    plain = dataclasses.replace(config, norm="none")
    with pytest.raises(NonFiniteError, match=r"for seed 6 in epoch 1 at step 1 of 2 \(nothing is saved"):
        train(plain, wild, seeds=[6, 7], recipe=recipe, preprocess=Preprocess())


def explosive(at):
    """Cross-entropy that is infinite from one step on."""

    def loss(outputs, label, valid, step):
        surprise = optax.softmax_cross_entropy_with_integer_labels(outputs, label).mean()
        return jnp.where(step < at, surprise, jnp.inf)

    return Objective(loss)


def test_the_first_bad_step_is_named_and_what_was_saved_is_kept(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    broken = dataclasses.replace(recipe, objective=explosive(8))
    with pytest.raises(
        NonFiniteError, match=r"for seed 3 in epoch 2 at step 3 of 6 .*6 of 18 steps are saved.*run/diverged"
    ):
        train(config, parts["train"], seeds=[3, 5], recipe=broken, folder=folder)
    assert saved_steps(folder) == (6, 18)
    kept = load_checkpoint(folder / "diverged", recipe=broken)
    assert kept.diverged == (9, 9)
    sound = dataclasses.replace(recipe, objective=explosive(100))
    eight = tmp_path / "eight"
    train(config, parts["train"], seeds=[3, 5], recipe=sound, folder=eight, snapshots=[8])
    exact = load_checkpoint(eight / "snapshots" / "step-00000008", recipe=sound)
    assert equal(kept.variables, exact.variables), "as they were before the bad step"


def test_a_network_that_diverges_is_left_as_it_was_and_the_others_go_on(config, parts, recipe, trained):
    """Its own learning rate makes one of three overflow; the others are those of a training without it."""
    members = [Member(3), Member(5, numbers={"learning_rate": 1e37}), Member(8)]
    sgd = dataclasses.replace(recipe, optimizer="sgd", clip_norm=1e30)
    alone = train(config, parts["train"], seeds=[3, 8], recipe=sgd)
    options = {"seeds": members, "recipe": sgd}
    with pytest.raises(NonFiniteError, match="for seed 5 in epoch 1"):
        train(config, parts["train"], **options)
    found = train(config, parts["train"], **options, keep_diverged=True)
    assert found.diverged[0] is None and 1 <= found.diverged[1] <= 6 and found.diverged[2] is None
    assert equal(found.take([0, 2]).variables, alone.variables)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.at(1))), "the last good state"
    assert np.isnan(found.curves.loss[:, 1]).all() and np.isfinite(found.curves.loss[:, [0, 2]]).all()


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "at least one seed"),
        ([1, 2, 1], "different seeds; found 1 more than once"),
        ([-1], "2\\^32 - 1"),
        ([2**32], "2\\^32 - 1"),
        ([True], "whole number"),
    ],
)
def test_seeds_that_make_no_experiment(config, parts, recipe, seeds, message):
    with pytest.raises(PwactError, match=message):
        train(config, parts["train"], seeds=seeds, recipe=recipe)


def test_images_and_classes_that_do_not_fit(config, parts, recipe):
    other = ModelConfig((20, 20, 3), 3)
    with pytest.raises(
        PwactError, match=r"images of shape \(20, 20, 3\).*found \(20, 20, 1\) in 'bag/train'"
    ):
        train(other, parts["train"], seeds=[0], recipe=recipe)
    with pytest.raises(PwactError, match="4 classes; found 3"):
        train(dataclasses.replace(config, num_classes=4), parts["train"], seeds=[0], recipe=recipe)
    with pytest.raises(PwactError, match=r"found \(24, 24, 1\) in 'bag'"):
        train(config, parts["train"], seeds=[0], recipe=recipe, test=bag(size=10))


def test_at_takes_only_places_that_exist(trained):
    with pytest.raises(PwactError, match=r"a place in 0 .. 2"):
        trained.at(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_are_preprocessed_on_the_way_in(config, recipe, dtype):
    images = np.random.default_rng(0).integers(0, 256, (64, 20, 20, 1)).astype(dtype)
    data = arrays(images, np.arange(64) % 3)
    found = train(config, data, seeds=[0], recipe=recipe, preprocess=Preprocess((127.5,), (64.0,)))
    by_hand = arrays((images.astype(np.float32) - 127.5) / 64, np.arange(64) % 3)
    exact = train(config, by_hand, seeds=[0], recipe=recipe, preprocess=Preprocess())
    # The same numbers enter both; XLA may divide by 64 as a multiplication, which is exact for a power of 2.
    np.testing.assert_allclose(found.curves.loss, exact.curves.loss, rtol=1e-4)
