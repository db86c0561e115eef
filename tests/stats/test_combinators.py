"""What the combinators refuse, and names and dimensions of what they return."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact.stats
from pwact.core.registry import resolve
from pwact.errors import PwactError
from pwact.stats import by_class, cka, extrema, firing, moments, named, on, per_channel, top_k
from pwact.types import Observation

MAP = jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)


def dims(acc, spec):
    return {name: value.dims for name, value in acc.finalize(acc.init(spec)).items()}


def test_dimensions_are_named():
    assert dims(moments(), MAP) == {
        "count": (),
        "mean": ("row", "column", "channel"),
        "variance": ("row", "column", "channel"),
    }
    assert dims(by_class(firing(), 2), MAP) == {
        "count": ("class",),
        **dict.fromkeys(("share", "dead", "always_on"), ("class", "row", "column", "channel")),
    }
    assert dims(per_channel(firing()), MAP)["share"] == ("channel",)
    assert dims(extrema(), jax.ShapeDtypeStruct((5, 2), jnp.float32))["min"] == ("axis_0", "axis_1")
    assert dims(named(a=named(b=firing())), MAP) == {
        "a.b.count": (),
        **dict.fromkeys(("a.b.share", "a.b.dead", "a.b.always_on"), ("row", "column", "channel")),
    }
    assert set(dims(top_k(2), MAP)) == {"value", "index", "row", "column"}
    assert set(dims(top_k(2), jax.ShapeDtypeStruct((4,), jnp.float32))) == {"value", "index"}


def test_nothing_seen_says_so_without_a_warning():
    for acc in (moments(), firing(), extrema(), top_k(2), by_class(moments(), 3)):
        for name, value in acc.finalize(acc.init(MAP)).items():
            found = np.asarray(value.values)
            if "count" in name:
                assert (found == 0).all()
            elif np.issubdtype(found.dtype, np.integer):
                assert (found == -1).all()
            elif found.dtype == bool:
                assert not found.any()
            else:
                assert np.isnan(found).all()


def test_an_image_of_no_class_is_in_no_result():
    acc = by_class(moments(), 2)
    label = jnp.array([-1, 0, 2, 1_000_000])
    seen = Observation(jnp.ones((4, 1)), label, label, jnp.arange(4), jnp.ones(4, bool))
    state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), jnp.float32)), seen)
    assert np.asarray(acc.finalize(state)["count"].values).tolist() == [1, 0]


def test_on_is_applied_to_the_activation():
    acc = on(lambda x: x.max(axis=(1, 2)), top_k(1))
    x = jnp.arange(2 * 2 * 3 * 4, dtype=jnp.float32).reshape(2, 2, 3, 4)
    zero = jnp.zeros(2, jnp.int32)
    result = acc.finalize(
        acc.update(acc.init(MAP), Observation(x, zero, zero, jnp.array([7, 9]), jnp.ones(2, bool)))
    )
    assert result["value"].values.tolist() == [[44, 45, 46, 47]] and result["index"].values.tolist() == [
        [9] * 4
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: by_class(moments(), 0), "num_classes of 1 or more"),
        (lambda: per_channel(cka()), "a statistic of one site for per_channel"),
        (lambda: on(jnp.tanh, cka()), "a statistic of one site for on"),
        (lambda: by_class(by_class(moments(), 2), 3).init(MAP), "without a dimension 'class'"),
        (lambda: top_k(0), "1 or more"),
        (lambda: firing(float("nan")), "a finite number; found nan"),
        (lambda: named(), "one statistic"),
        (lambda: per_channel(moments()).init(jax.ShapeDtypeStruct((4, 5), jnp.float32)), "shape \\[4, 5\\]"),
        (lambda: top_k(1).init(jax.ShapeDtypeStruct((), jnp.float32)), "activation map"),
        (lambda: on(lambda x: x.sum(0), moments()).init(MAP), "keeps the batch axis"),
        (lambda: on(lambda x: (x, x), moments()).init(MAP), "one array"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PwactError, match=words):
        make()


def test_arguments_of_the_wrong_type_are_refused_where_no_type_checker_looks():
    questions = {
        "by_class(3, 3)": "an accumulator for by_class",
        "by_class(moments(), 3.0)": "num_classes of 1 or more, a whole number; found 3.0",
        "per_channel('moments')": "an accumulator for per_channel",
        "on(3, moments())": "a function of the activation",
        "top_k(2.5)": "a whole number; found 2.5",
        "top_k('3')": "a whole number; found '3'",
        "firing('a')": "a finite number; found 'a'",
    }
    program = f"""
from pwact import stats
from pwact.core.registry import resolve
from pwact.errors import PwactError
for question, words in {questions}.items():
    try:
        resolve(question, stats)
    except PwactError as error:
        assert words in str(error), error
    else:
        raise AssertionError(question)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_equal_statistics_are_one_object_however_they_are_written():
    text = "by_class(named(m=moments(), f=firing(1.0)), 3)"
    assert resolve(text, pwact.stats) is by_class(named(m=moments(), f=firing(threshold=1.0)), num_classes=3)
    assert firing() is firing(0.0) and firing() is not firing(0.5)
    statistics = [on(lambda x: x + 1.0, moments()) for _ in range(2)]
    assert statistics[0] is statistics[1]
    shifted = [on(lambda x, by=by: x + by, moments()) for by in (1.0, 2.0)]
    assert shifted[0] is not shifted[1]
