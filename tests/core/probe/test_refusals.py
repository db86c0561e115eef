"""What a probe is given and cannot use is refused in one sentence, before anything is computed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.errors import PwactError

IMAGE = jax.random.normal(jax.random.key(0), (3, 4, 4, 3))
KERNEL = jax.random.normal(jax.random.key(1), (3, 2))


@pytest.fixture(scope="module")
def probed():
    return pwact.probe(lambda v, x: jax.nn.relu(x @ v).mean((1, 2)), IMAGE, variables=KERNEL)


@pytest.mark.parametrize("edit", [jnp.zeros((3, 4, 4, 2)), None, 0.0, "zero"])
def test_an_edit_that_is_no_function(probed, edit):
    with pytest.raises(PwactError, match=r"'relu' that is a function of the activation; found \w+; wrap"):
        # The type checker of these tests looks at the first edit alone.
        probed.run(KERNEL, IMAGE, edits={"input": lambda a: a, "relu": edit})


@pytest.mark.parametrize("edit", [lambda a: None, lambda a: (a, a), lambda a: 0.0, lambda a: a[:1]])
def test_an_edit_that_returns_something_else(probed, edit):
    with pytest.raises(PwactError, match=r"returns float32\[3, 4, 4, 2\]"):
        probed.run(KERNEL, IMAGE, edits={"relu": edit})


def test_two_edits_of_one_value_by_two_names(probed):
    with pytest.raises(PwactError, match="an alias of it; compose the two functions"):
        probed.run(KERNEL, IMAGE, edits={"mean": lambda a: a, "output": lambda a: a})


@pytest.mark.parametrize("image", ["cat.png", {"image": IMAGE, "label": "cat"}, np.array([None, 1])])
def test_an_image_that_is_no_array(image):
    with pytest.raises(PwactError, match=r"arrays, numbers and pytrees of them; found (str|ndarray)"):
        pwact.probe(lambda x: x, image)


def test_variables_that_are_no_arrays(probed):
    with pytest.raises(PwactError, match=r"pytrees of them; found str; leave out"):
        pwact.probe(lambda v, x: x, IMAGE, variables={"w": KERNEL, "name": "net"})
    with pytest.raises(PwactError, match=r"pytrees of them; found str; leave out"):
        probed.run("kernel", IMAGE)


def test_variables_and_image_in_the_wrong_order(probed):
    with pytest.raises(PwactError, match=r"expected image of float32"):
        probed.run(IMAGE, KERNEL)


def test_no_image_at_all(probed):
    with pytest.raises(PwactError, match=r"an image with a batch axis"):
        probed.run(KERNEL, None)


def test_a_rest_with_a_part_missing_or_in_another_order():
    def model(v, x):
        y = x @ v
        return jnp.tanh(y) * x.sum((1, 2, 3), keepdims=True) + y

    probed = pwact.probe(model, IMAGE, variables=KERNEL)
    cut = probed.cut("tanh")
    activation, rest = cut.below(KERNEL, IMAGE)
    assert len(rest) == 2
    for wrong in (rest[:1], rest[::-1], ()):
        with pytest.raises(PwactError, match="the rest of the same images"):
            cut.above(KERNEL, activation, wrong)


def test_a_cut_whose_values_do_not_say_how_many_images_there_are():
    def every_second(v, x):
        return jax.nn.relu((x @ v)[::2]) * 2.0

    probed = pwact.probe(every_second, IMAGE, variables=KERNEL)
    cut = probed.cut("relu")
    activation, rest = cut.below(KERNEL, IMAGE)
    with pytest.raises(PwactError, match=r"how many images there are; found 'relu'.*`run` with edits"):
        cut.above(KERNEL, activation, rest)
    np.testing.assert_allclose(probed.run(KERNEL, IMAGE)[0], every_second(KERNEL, IMAGE), rtol=1e-6)


def test_a_text_is_not_taken_for_a_sequence_of_sites(probed):
    with pytest.raises(PwactError, match=r"the text 'relu'; write \['relu'\]"):
        probed.run(KERNEL, IMAGE, sites="relu")
