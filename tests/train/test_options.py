"""What a recipe and a call of train may ask for, each against what it means."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pwact.callbacks import Callback
from pwact.core.one_process import one_process
from pwact.data import Preprocess, augment, subset
from pwact.errors import PwactError
from pwact.initializers import Initializer
from pwact.train import Intervention, Member, Recipe, load_checkpoint, log_spaced, train
from pwact.train.order import epoch_order


def equal(one, other):
    return all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def close(one, other, atol):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


@pytest.fixture(scope="module")
def small(config, recipe):
    """Without running statistics, whose noise would hide what is compared."""
    sgd = dataclasses.replace(
        recipe, epochs=1, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1e6, learning_rate=0.1
    )
    return dataclasses.replace(config, norm="none"), sgd


def test_a_held_stream_is_shared_and_the_others_are_the_networks_own(config, parts, recipe):
    untrained = {"recipe": recipe, "treatment": "untrained"}
    alike = train(config, parts["train"], seeds=[1, 2], streams={"initialisation": 7}, **untrained)
    assert equal(alike.at(0), alike.at(1))
    assert equal(alike.at(0), train(config, parts["train"], seeds=[7], **untrained).at(0))
    one = dataclasses.replace(recipe, epochs=1)
    ordered = train(
        config, parts["train"], seeds=[1, 2], streams={"initialisation": 7, "order": 3}, recipe=one
    )
    assert equal(ordered.at(0), ordered.at(1)), "nothing else is random in this recipe"
    free = train(config, parts["train"], seeds=[1, 2], streams={"initialisation": 7}, recipe=one)
    assert not equal(free.at(0), free.at(1))
    with pytest.raises(PwactError, match="nearest: order"):
        train(config, parts["train"], seeds=[1], streams={"orders": 0})


def test_numbers_of_its_own_are_those_of_a_recipe(config, parts, recipe):
    one = dataclasses.replace(recipe, epochs=1)
    slow, fast = {"learning_rate": 1e-3}, {"learning_rate": 3e-2, "weight_decay": 0.0}
    members = [Member(3, numbers=slow), Member(3, numbers=fast)]
    found = train(config, parts["train"], seeds=members, recipe=one)
    for place, numbers in enumerate((slow, fast)):
        alone = train(config, parts["train"], seeds=[3], recipe=dataclasses.replace(one, **numbers))
        taken = found.take([place])
        assert taken.recipe == alone.recipe and taken.members == alone.members
        assert equal(taken.variables, alone.variables)
    with pytest.raises(PwactError, match="different networks"):
        train(config, parts["train"], seeds=[Member(3), Member(3)], recipe=one)
    with pytest.raises(PwactError, match="nearest: learning_rate"):
        train(config, parts["train"], seeds=[Member(3, numbers={"learning_rat": 1.0})])


def test_the_order_goes_through_every_image_once():
    labels = jnp.arange(100) % 7
    options = {"steps": 5, "size": 20, "num_classes": 7, "sampling": "shuffled"}
    order = epoch_order(jax.random.key(0), labels, **options)
    assert sorted(order.ravel().tolist()) == list(range(100))
    assert order.tolist() != epoch_order(jax.random.key(1), labels, **options).tolist()


def test_balanced_batches_hold_equally_many_of_each_class_and_repeat_none_before_its_class_is_through():
    labels = jnp.array([0] * 50 + [1] * 30 + [2] * 20)
    order = epoch_order(jax.random.key(0), labels, steps=6, size=15, num_classes=3, sampling="balanced")
    assert (jnp.sort(labels[order], axis=1) == jnp.repeat(jnp.arange(3), 5)[None]).all()
    for label, count in ((0, 50), (1, 30), (2, 20)):
        taken = order[labels[order] == label].tolist()
        rounds = [taken[start : start + count] for start in range(0, len(taken), count)]
        assert all(len(set(each)) == len(each) for each in rounds)


def test_balanced_batches_that_cannot_be(config, parts, recipe):
    uneven = dataclasses.replace(recipe, sampling="balanced", batch_size=32)
    with pytest.raises(PwactError, match=r"divides by the 3 classes.*set batch_size to 30"):
        train(config, parts["train"], seeds=[0], recipe=uneven)
    two = subset(parts["train"], np.flatnonzero(parts["train"].labels < 2))
    with pytest.raises(PwactError, match="none of class 2"):
        train(config, two, seeds=[0], recipe=dataclasses.replace(uneven, batch_size=30))


def test_accumulated_parts_have_the_gradient_of_the_whole(small, parts):
    config, recipe = small
    whole = train(config, parts["train"], seeds=[1], recipe=recipe)
    in_parts = train(config, parts["train"], seeds=[1], recipe=dataclasses.replace(recipe, accumulate=4))
    # Six steps at rates of 0.1 and less: sums of 32 in another order, each step's error below 1e-6.
    close(whole.variables, in_parts.variables, 1e-5)


def test_an_average_of_parameters_follows_its_rule(small, parts):
    """Recomputed from snapshots after every step: a <- d a + (1 - d) p, d = min(ema, (1 + t) / (10 + t))."""
    config, recipe = small
    plain = dataclasses.replace(recipe, ema=0.0)
    steps = [train(config, parts["train"], seeds=[1], recipe=plain, treatment="untrained").at(0)]
    state = jax.tree.map(np.asarray, steps[0])
    averaged = train(config, parts["train"], seeds=[1], recipe=dataclasses.replace(recipe, ema=0.5))
    assert not equal(averaged.variables, train(config, parts["train"], seeds=[1], recipe=plain).variables)
    seen = {}

    def note(state, params, step, steps, key):
        jax.debug.callback(
            lambda step, leaf: seen.__setitem__(int(step), np.asarray(leaf)),
            step,
            jax.tree.leaves(params)[0],
        )
        return state, params

    watched = dataclasses.replace(recipe, callbacks=(Callback(lambda params: (), note, "step"),))
    train(config, parts["train"], seeds=[1], recipe=watched)
    jax.effects_barrier()
    expected = np.asarray(jax.tree.leaves(nnx.split_state(state, nnx.Param, ...)[0])[0])
    for t in sorted(seen):
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * seen[t]
    found = jax.tree.leaves(nnx.split_state(averaged.at(0), nnx.Param, ...)[0])[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bfloat16_trains_to_its_own_rounding_and_keeps_float32_parameters(small, parts):
    config, recipe = small
    exact = train(config, parts["train"], seeds=[1], recipe=recipe)
    rounded = train(
        config, parts["train"], seeds=[1], recipe=dataclasses.replace(recipe, precision="bfloat16")
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(rounded.variables))
    assert not equal(exact.variables, rounded.variables)
    # bfloat16 keeps 8 bits: gradients are off by about 1 %, and six steps move weights by 0.1 or so.
    close(exact.variables, rounded.variables, 2e-2)
    mixed = dataclasses.replace(config, norm="batch")
    found = train(mixed, parts["train"], seeds=[1], recipe=dataclasses.replace(recipe, precision="bfloat16"))
    assert found.variables["blocks"][0]["norm"]["mean"][...].dtype == jnp.float32


def test_augmentation_draws_anew_in_each_epoch_and_the_same_for_the_same_seed(small, parts):
    config, recipe = small
    moved = dataclasses.replace(recipe, augment=augment.crop(padding=2))
    one = train(config, parts["train"], seeds=[1], recipe=moved)
    assert equal(one.variables, train(config, parts["train"], seeds=[1], recipe=moved).variables)
    assert not equal(one.variables, train(config, parts["train"], seeds=[1], recipe=recipe).variables)
    held = train(
        config, parts["train"], seeds=[1, 2], recipe=moved, streams={"initialisation": 0, "order": 0}
    )
    assert not equal(held.at(0), held.at(1)), "augmentation follows the network's own seed"


def test_callbacks_may_edit_parameters_after_steps_or_epochs(small, parts):
    config, recipe = small

    def count_and_zero(state, params, step, steps, key):
        return state + 1, jax.tree.map(lambda leaf: leaf * 0 if leaf.ndim == 4 else leaf, params)

    for every in ("step", "epoch"):
        callback = Callback(lambda params: jnp.int32(0), count_and_zero, every)
        found = train(
            config, parts["train"], seeds=[1, 2], recipe=dataclasses.replace(recipe, callbacks=(callback,))
        )
        assert not np.asarray(found.variables["blocks"][0]["conv"]["kernel"][...]).any()
        assert np.asarray(found.variables["head"]["kernel"][...]).any()


def test_an_initialiser_draws_after_its_own_epochs_and_training_begins_at_step_0(small, parts):
    config, recipe = small
    seen = []

    def draw(key, params):
        seen.append(np.asarray(jax.tree.leaves(params)[-1]))
        return jax.tree.map(jnp.ones_like, params)

    untrained = train(config, parts["train"], seeds=[1], recipe=recipe, treatment="untrained")
    for epochs in (0, 1):
        begun = dataclasses.replace(recipe, initializer=Initializer(draw, epochs))
        found = train(config, parts["train"], seeds=[1], recipe=begun, treatment="untrained")
        assert all((np.asarray(leaf) == 1).all() for leaf in jax.tree.leaves(found.variables))
    last = np.asarray(jax.tree.leaves(untrained.at(0))[-1])
    np.testing.assert_array_equal(seen[0], last)
    assert not np.array_equal(seen[1], last), "it was trained before it was drawn"


def test_images_that_are_read_for_each_step_give_the_bits_of_those_on_the_device(
    config, parts, recipe, monkeypatch
):
    options = {"seeds": [3, 5], "recipe": dataclasses.replace(recipe, augment="flip()")}
    resident = train(config, parts["train"], **options)
    monkeypatch.setattr("pwact.train.feed.SHARE", 0.0)
    for workers in (1, 4):
        streamed = train(config, parts["train"], **options, workers=workers)
        assert equal(streamed.variables, resident.variables)
        assert streamed.curves.identical(resident.curves)


def test_an_image_that_cannot_be_read_ends_the_training_with_its_error(config, parts, recipe, monkeypatch):
    class Broken(type(parts["train"])):
        def read(self, indices):
            if len(indices) > 1 and 7 in np.asarray(indices):
                raise PwactError("an image", "rubbish in 7.png", "replace it")
            return super().read(indices)

    broken = Broken(parts["train"].whole, parts["train"].index, "broken")
    monkeypatch.setattr("pwact.train.feed.SHARE", 0.0)
    with pytest.raises(PwactError, match="rubbish"):
        train(config, broken, seeds=[3], recipe=recipe, preprocess=Preprocess())


def test_snapshots_are_checkpoints_of_the_networks_at_that_step(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    steps = log_spaced(recipe.steps(len(parts["train"])))
    whole = train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, snapshots=steps)
    assert sorted(path.name for path in (folder / "snapshots").iterdir()) == [
        f"step-{step:08d}" for step in (0, 1, 2, 4, 8, 16, 18)
    ]
    first = load_checkpoint(folder / "snapshots" / "step-00000000")
    untrained = train(config, parts["train"], seeds=[3], recipe=recipe, treatment="untrained")
    assert equal(first.variables, untrained.variables)
    assert equal(load_checkpoint(folder / "snapshots" / "step-00000018").variables, whole.variables)
    assert equal(whole.variables, train(config, parts["train"], seeds=[3], recipe=recipe).variables)
    with pytest.raises(PwactError, match=r"snapshots at steps in 0 \.\. 18; found 19"):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=tmp_path / "b", snapshots=[19])
    with pytest.raises(PwactError, match="a folder for what is to be kept"):
        train(config, parts["train"], seeds=[3], recipe=recipe, snapshots=[1])


def test_metrics_are_json_lines_of_every_network_and_split(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    found = train(
        config, parts["train"], seeds=[3, 5], recipe=recipe, test=parts["test"], folder=folder, log_every=2
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    learnt = [line for line in lines if line["split"] == "train" and line["seed"] == 5]
    assert [line["step"] for line in learnt] == list(range(2, 19, 2))
    epoch = np.mean([line["loss"] for line in learnt[:3]])
    np.testing.assert_allclose(epoch, found.curves.loss.sel(split="train", seed=5, epoch=1), rtol=1e-6)
    tested = [line["accuracy"] for line in lines if line["split"] == "test" and line["seed"] == 3]
    np.testing.assert_array_equal(tested, found.curves.accuracy.sel(split="test", seed=3))
    peak = max(line["learning_rate"] for line in learnt)
    assert 0 < peak <= recipe.learning_rate * (1 + 1e-6)


def test_a_recipe_of_ones_own_methods_comes_back_only_with_itself(small, parts, tmp_path):
    config, recipe = small
    callback = Callback(lambda params: (), lambda state, params, step, steps, key: (state, params), "step")
    own = dataclasses.replace(recipe, callbacks=(callback,))
    done = train(config, parts["train"], seeds=[1], recipe=own, folder=tmp_path / "run")
    with pytest.raises(PwactError, match="callbacks"):
        load_checkpoint(tmp_path / "run")
    assert equal(load_checkpoint(tmp_path / "run", recipe=own).variables, done.variables)
    with pytest.raises(PwactError, match="a checkpoint of the recipe given"):
        load_checkpoint(tmp_path / "run", recipe=Recipe())


def test_a_folder_in_use_is_refused(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder)
    with one_process(folder), pytest.raises(PwactError, match="one process at a time"):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, resume=True)


def test_a_test_set_is_part_of_what_is_resumed(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, test=parts["test"])
    fewer = subset(parts["test"], range(20))
    with pytest.raises(PwactError, match="the data that was asked for; found test_fingerprint="):
        train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, test=fewer, resume=True)


def test_a_snapshot_that_comes_too_late_is_refused(config, parts, recipe, tmp_path):
    folder = tmp_path / "run"
    train(config, parts["train"], seeds=[3], recipe=recipe, folder=folder, snapshots=[4])
    again = {"seeds": [3], "recipe": recipe, "folder": folder, "resume": True}
    train(config, parts["train"], **again, snapshots=[4])
    with pytest.raises(PwactError, match=r"snapshots after step 18.*step 5, which was not kept"):
        train(config, parts["train"], **again, snapshots=[5])


@pytest.mark.parametrize("wrong", [{"log_every": 0}, {"log_every": -1}, {"workers": 0}])
def test_counts_below_one_are_refused(config, parts, recipe, wrong):
    with pytest.raises(PwactError, match="as a whole number of 1 or more"):
        train(config, parts["train"], seeds=[3], recipe=recipe, **wrong)


def test_no_two_draws_share_a_key(small, parts):
    """Two edits, two parts of a batch and a callback, each of which keeps the bits of its key."""
    config, recipe = small
    seen = []

    def noted(key):
        jax.debug.callback(
            lambda bits: seen.append(tuple(np.asarray(bits).tolist())), jax.random.key_data(key)
        )

    def edit(key, activation):
        noted(key)
        return activation

    def other(key, activation):
        noted(key)
        return activation + 0

    def update(state, params, step, steps, key):
        noted(key)
        return state, params

    watched = dataclasses.replace(
        recipe, batch_size=160, accumulate=2, callbacks=(Callback(lambda params: (), update, "step"),)
    )
    sites = [Intervention("blocks.0.relu", edit), Intervention("blocks.1.relu", other)]
    train(config, parts["train"], seeds=[1], recipe=watched, interventions=sites)
    jax.effects_barrier()
    # One step: two parts of two edits, which the backward pass computes again with the same keys.
    assert len(set(seen)) == 5


def test_an_image_that_comes_twice_in_a_balanced_epoch_is_augmented_twice(small, parts):
    config, recipe = small
    labels = parts["train"].labels
    few = [*np.flatnonzero(labels > 0), *np.flatnonzero(labels == 0)[:2]]
    rare = subset(parts["train"], few)
    seen = []

    def noted(key, image):
        bits = jax.random.key_data(key)
        jax.debug.callback(lambda bits: seen.append(tuple(np.asarray(bits).tolist())), bits)
        return image

    balanced = dataclasses.replace(
        recipe, sampling="balanced", batch_size=30, augment=augment.Augmentation("noted", noted)
    )
    train(config, rare, seeds=[1], recipe=balanced)
    jax.effects_barrier()
    steps = balanced.steps(len(rare))
    # Ten of the rare class in a batch, of two images: one key an image and batch.
    assert len(seen) == 30 * steps and len(set(seen)) == (20 + 2) * steps
