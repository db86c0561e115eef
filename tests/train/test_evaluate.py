"""Logits against the model called directly; scores and intervals against NumPy and SciPy."""

import numpy as np
import pytest
import scipy.stats
from flax import nnx

from pwact.data import bag
from pwact.errors import PwactError
from pwact.models import build
from pwact.train import evaluate, predict, results_table, train
from pwact.train.evaluate import t_interval


def test_logits_equal_the_models_own_in_every_batch(trained):
    scenes = bag(size=300, seed=9, image_size=20)  # a full batch of 256 and a part of one
    found = predict(trained, scenes)
    assert found.shape == (3, 300, 3) and found.dtype == np.float32
    for place in range(3):
        model = nnx.merge(nnx.graphdef(build(trained.config, 0)), trained.at(place))
        model.eval()
        exact = model(trained.preprocess(scenes.images))
        # The same float32 operations in another batch size.
        np.testing.assert_allclose(found[place], exact, atol=1e-5)


def test_scores_against_numpy(trained, parts):
    logits = predict(trained, parts["test"]).astype(np.float64)
    labels = parts["test"].labels
    found = evaluate(trained, parts["test"])
    surprise = np.log(np.exp(logits).sum(-1)) - logits[:, np.arange(len(labels)), labels]
    np.testing.assert_allclose(found.loss, surprise.mean(1), rtol=1e-5)
    np.testing.assert_array_equal(found.accuracy, (logits.argmax(-1) == labels).mean(1))


def test_scores_on_the_labels_that_were_learnt(config, parts, recipe):
    shuffled = train(config, parts["train"], seeds=[3, 5], recipe=recipe, treatment="shuffled_labels")
    found = evaluate(shuffled, parts["train"], labels=shuffled.labels)
    answers = predict(shuffled, parts["train"]).argmax(-1)
    np.testing.assert_array_equal(found.accuracy, (answers == shuffled.labels).mean(1))


def test_labels_of_other_images_are_refused(trained, parts):
    with pytest.raises(PwactError, match=r"labels of shape \[3, 50\] or \[50\]"):
        evaluate(trained, parts["test"], labels=trained.labels)


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(PwactError, match="images of shape"):
        predict(trained, bag(size=3))


def test_t_interval_against_scipy():
    values = np.random.default_rng(0).normal(0.9, 0.02, 10)
    exact = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(t_interval(values, 0.9), exact, rtol=1e-12)


def test_the_table_has_a_row_for_each_network_and_split(trained, parts, config, recipe):
    untrained = train(config, parts["train"], seeds=[1], recipe=recipe, treatment="untrained")
    table = results_table({"standard": trained, "untrained": untrained}, parts["test"], train=parts["train"])
    assert table[["network", "split", "seeds"]].values.tolist() == [
        ["standard", "test", 3],
        ["standard", "train", 3],
        ["untrained", "test", 1],
        ["untrained", "train", 1],
    ]
    accuracy = evaluate(trained, parts["test"]).accuracy.values
    row = table.iloc[0]
    assert row.accuracy == accuracy.mean()
    np.testing.assert_allclose([row.low, row.high], np.clip(t_interval(accuracy), 0, 1))
    assert np.isnan(table.iloc[2].low) and np.isnan(table.iloc[2].high)
    assert 0 <= table.low.min() and table.high.max() <= 1


def test_the_interval_never_leaves_what_an_accuracy_can_be(trained, parts):
    table = results_table({"standard": trained}, parts["test"], level=1 - 1e-9)
    assert (table.low[0], table.high[0]) == (0.0, 1.0)
