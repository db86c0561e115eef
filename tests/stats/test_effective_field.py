"""The effective receptive field against convolved kernels and closed forms."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.core.receptive_field.table import receptive_fields
from pwact.core.results import open_results, save_results
from pwact.errors import PwactError
from pwact.stats.effective_field import effective_receptive_field

DIMS = ("NHWC", "HWIO", "NHWC")


def stack(variables, image):
    for number, kernel in enumerate(variables):
        with jax.named_scope(f"layer{number}"):
            image = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=DIMS)
    return image.mean((1, 2))


def noise(size, colours=1):
    x = np.random.default_rng(0).normal(size=(3, size, size, colours)).astype(np.float32)
    return pwact.data.arrays(x, [0, 1, 0], name="noise")


def fields(model, variables, data, sites, **options):
    probe = pwact.probe(model, data.read([0]).image, variables=variables)
    return effective_receptive_field(probe, variables, data, sites=sites, **options)


def test_a_linear_stack_gives_its_kernels_convolved():
    """A gradient sums at most 9 x 8 products: within 100 units of rounding of the largest power."""
    rng = np.random.default_rng(1)
    first, second = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 2, 8), (3, 3, 8, 4)))
    tree = fields(stack, [jnp.asarray(first), jnp.asarray(second)], noise(9, colours=2), ["layer0", "layer1"])
    one, both = np.zeros((9, 9, 2)), np.zeros((9, 9, 2))
    one[3:6, 3:6] = first.astype(np.float64).sum(-1)
    for r, c, s, d in itertools.product(range(3), repeat=4):
        both[2 + r + s, 2 + c + d] += first[r, c].astype(np.float64) @ second[s, d].sum(-1)
    for name, gradient in (("layer0", one), ("layer1", both)):
        power = (gradient**2).sum(-1)
        np.testing.assert_allclose(tree[name]["power"], power, rtol=0, atol=100 * 2**-24 * power.max())
        weight = power / power.sum()
        rows = np.arange(9)
        center = (weight.sum(1) @ rows, weight.sum(0) @ rows)
        np.testing.assert_allclose(tree[name]["center"], center, rtol=1e-5)
        sigma = [
            np.sqrt(weight.sum(axis) @ (rows - middle) ** 2)
            for axis, middle in zip((1, 0), center, strict=True)
        ]
        np.testing.assert_allclose(tree[name]["sigma"], sigma, rtol=1e-4)
        held = np.cumsum(np.sort(weight.ravel())[::-1])
        assert int(tree[name]["pixels"]) == 1 + (held < 0.9545).sum()
    assert tree["layer1"]["theoretical_size"].values.tolist() == [5, 5]


def test_random_kernels_spread_as_the_square_root_of_depth():
    """Over random weights E g^2 is a box of 3 pixels convolved with itself: its variance is depth 8 / 12
    (Luo et al., section 2). Of 25 networks with 64 channels sigma was within 2 % of that, the middle within
    0.1 pixels, one standard deviation: four times that is allowed."""
    for depth in (2, 6):
        keys = jax.random.split(jax.random.key(depth), depth)
        kernels = [jax.random.normal(key, (3, 3, 64, 64)) / 24 for key in keys]
        field = fields(stack, kernels, noise(17, colours=64), [f"layer{depth - 1}"])[f"layer{depth - 1}"]
        np.testing.assert_allclose(field["sigma"], np.sqrt(depth * 8 / 12), rtol=0.08)
        np.testing.assert_allclose(field["center"], 8, atol=0.4)


def test_it_depends_on_the_images_where_the_network_does_and_a_dead_point_has_none(tmp_path):
    def model(image):
        with jax.named_scope("relu"):
            active = jax.nn.relu(image)
        with jax.named_scope("dead"):
            dead = jax.nn.relu(image - 100)
        with jax.named_scope("head"):
            return (active + dead).mean((1, 2))

    data = noise(5)
    middle = data.read(range(3)).image[:, 2, 2, 0]
    tree = fields(model, None, data, ["dead", "relu"], preprocess=lambda image: 3.0 * image)
    expected = np.zeros((5, 5))
    expected[2, 2] = (middle > 0).mean()
    assert 0 < expected[2, 2] < 1
    np.testing.assert_allclose(tree["relu"]["power"], expected, rtol=1e-6)
    assert int(tree["relu"]["pixels"]) == 1 and tree["relu"]["sigma"].values.tolist() == [0, 0]
    assert int(tree["dead"]["pixels"]) == 0 and float(tree["dead"]["power"].max()) == 0
    assert np.isnan(tree["dead"]["center"]).all() and np.isnan(tree["dead"]["sigma"]).all()
    assert tree.attrs["sites"] == '["relu", "dead"]' and tree.attrs["images"] == 3
    save_results(tree, tmp_path / "fields.nc")
    assert open_results(tmp_path / "fields.nc").identical(tree)


def test_power_lies_within_the_receptive_field_of_the_program():
    data = pwact.data.digits()
    config = pwact.models.quick(data.image_shape, data.num_classes)
    probe = pwact.probe(pwact.models.build(config, 0), np.zeros((2, 8, 8, 1), np.float32))
    part = pwact.data.split(data, seed=0)["test"]
    tree = effective_receptive_field(
        probe,
        probe.variables,
        part,
        sites=["blocks.0.relu"],
        preprocess=pwact.data.Preprocess.standardise(part),
    )
    top, left, bottom, right = probe.sites["blocks.0.relu"].receptive_field.box(4, 4)
    power = tree["blocks.0.relu"]["power"].values
    assert power[top:bottom, left:right].sum() == power.sum() > 0
    table = receptive_fields(probe.sites)
    assert list(table["site"].values) == list(probe.sites)
    chosen = table.sel(site="blocks.1.relu")
    assert chosen["stride"].values.tolist() == [2, 2] and chosen["size"].values.tolist() == [7, 7]
    assert table.sel(site="blocks.0.conv")["offset"].values.tolist() == [-2, -2]


@pytest.mark.parametrize("sites", [[], "layer0", ["layer0", "layer0"], ["layer9"]])
def test_sites_that_cannot_be_asked_for_are_refused(sites):
    with pytest.raises(PwactError):
        fields(stack, [jnp.ones((3, 3, 1, 1))], noise(5), sites)


def test_a_site_that_is_neither_map_nor_vector_and_an_image_that_is_none_are_refused():
    def model(image):
        with jax.named_scope("line"):
            line = jnp.tanh(image[..., 0])
        return line.mean(1)

    with pytest.raises(PwactError, match=r"a map \[row, column, channel\] or a vector"):
        fields(model, None, noise(5), ["line"])
    flat = pwact.probe(lambda image: jnp.tanh(image), np.zeros((2, 4), np.float32))
    with pytest.raises(PwactError, match=r"a model of images \[row, column, channel\]"):
        effective_receptive_field(flat, None, noise(5), sites=["tanh"])
