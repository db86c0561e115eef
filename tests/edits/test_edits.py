"""MaxDropout on the worked example, on its limits, and in place in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pwact import edits
from pwact.data import digits, split
from pwact.models import ModelConfig
from pwact.train import Intervention, Recipe, predict, train

KEY = jax.random.key(0)
A = jnp.array([-1.0, 0.0, 1.0, 2.0, 3.0])


def test_the_worked_example_and_both_limits():
    assert edits.max_dropout(rate=0.3)(KEY, A).tolist() == [-1.0, 0.0, 1.0, 0.0, 0.0]
    assert edits.max_dropout(rate=0.0)(KEY, A).tolist() == A.tolist()
    assert edits.max_dropout(rate=1.0)(KEY, A).tolist() == [-1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
def test_which_entries_go_is_free_of_scale_and_level(rate):
    x = jax.random.normal(KEY, (8, 4, 4, 3))
    edit = edits.max_dropout(rate=rate)
    gone = np.asarray(edit(KEY, x)) == 0
    assert 0 < gone.sum() < gone.size
    # A level that moves no entry onto 0, and a factor of a power of two, which rounds nothing.
    moved = np.asarray(edit(KEY, 4 * x + 64)) == 0
    assert (gone != moved).sum() <= 1


def test_one_outlier_shields_the_rest_of_its_scope_alone():
    x = jnp.abs(jax.random.normal(KEY, (4, 5, 5, 2))).at[0, 0, 0, 0].set(1000.0)
    lost = {
        scope: np.asarray(edits.max_dropout(0.3, scope)(KEY, x) != x)
        for scope in ("batch", "sample", "channel")
    }
    assert lost["batch"].sum() == 1
    assert lost["sample"][0].sum() == 1 and lost["sample"][1:].any((1, 2, 3)).all()
    assert lost["channel"][..., 0].sum() == 1 and lost["channel"][..., 1].any()


def test_gradients_pass_where_entries_stay():
    slope = jax.grad(lambda x: (edits.max_dropout(0.3)(KEY, x) * jnp.arange(1.0, 6.0)).sum())(A)
    assert slope.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0]


def test_in_training_it_acts_and_in_evaluation_only_where_asked():
    """Networks trained with an edit of rate 1 at the last map see next to nothing; those evaluated without it
    decide by what is there."""
    data = split(digits(), seed=0)["train"]
    config = ModelConfig((8, 8, 1), 10, widths=(4,), strides=(2,), norm="none")
    recipe = Recipe(epochs=1, batch_size=256)

    def logits(active):
        edit = edits.max_dropout(rate=1.0, active_at_eval=active)
        trained = train(
            config, data, seeds=[0], recipe=recipe, interventions=(Intervention("blocks.0.relu", edit),)
        )
        return predict(trained, data)[0]

    clean, edited = logits(False), logits(True)
    assert np.ptp(clean, axis=0).max() > 0.01
    # Only the smallest of all entries stays, and behind a ReLU that is 0: all images look alike.
    np.testing.assert_allclose(np.ptp(edited, axis=0), 0, atol=1e-6)
