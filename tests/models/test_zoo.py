"""Every network of the zoo: any channels and reasonable size, both programs, under a probe, in a sweep."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import nnx

import pwact
from pwact.errors import PwactError
from pwact.models import (
    HMAX,
    VGG,
    MobileNet,
    ResNet,
    WideResNet,
    build,
    cifar_resnet,
    from_dict,
    mobilenet,
    quick,
    resnet,
    small_receptive_field,
    to_dict,
    vgg,
)
from pwact.models.hmax import CONTRAST, Fixed, gabor
from pwact.models.mobilenet import Depthwise
from pwact.models.parts import Parts
from pwact.models.resnet import Padding
from pwact.models.vgg import cells
from pwact.nn.norms import Norm

Doubled = Norm(None, lambda shape, rngs: lambda kernel: 2 * kernel, True)

SMALL = {
    "basic": ResNet((9, 8, 3), 5, blocks=(1, 1), widths=(4, 6), shortcut="pad"),
    "bottleneck": ResNet((18, 17, 1), 5, blocks=(1, 1), widths=(2, 3), block="bottleneck", stem="large"),
    "wide": WideResNet((9, 8, 1), 5, depth=10, widen=1),
    "vgg": VGG((9, 8, 3), 5, stages=((4,), (6, 6)), norm="batch", hidden=7),
    "vgg, small head": VGG((9, 8, 1), 5, stages=((4,), (6, 6)), head="small"),
    "mobilenet": MobileNet((9, 8, 3), 5, widths=(4, 6, 8), strides=(2, 1, 2)),
    "hmax": HMAX((20, 21, 3), 5, templates=6),
}

SITES = {
    "basic": [
        "stem.conv",
        "stem.relu",
        "blocks.0.conv1",
        "blocks.0.add",
        "blocks.1.shortcut",
        "blocks.1.relu@2",
    ],
    "bottleneck": ["stem.max_pool", "blocks.0.conv3", "blocks.1.shortcut.conv", "blocks.1.relu@3", "mean"],
    "wide": ["stem", "blocks.0.norm1", "blocks.1.shortcut", "blocks.2.add", "norm", "relu", "mean"],
    "vgg": ["blocks.0.pool", "blocks.2.relu", "hidden.0.linear", "hidden.1.relu"],
    "vgg, small head": ["blocks.0.pool", "blocks.2.conv", "mean"],
    "mobilenet": ["stem.conv", "blocks.0.depthwise", "blocks.1.pointwise", "blocks.1.relu@2"],
    "hmax": ["bands.0.s1.0", "bands.0.s1.1", "bands.1.c1", "s2", "s2@2", "c2"],
}


def images(config, number=2):
    return jax.random.normal(jax.random.key(1), (number, *config.image_shape))


@pytest.fixture(scope="module", params=SMALL, ids=str)
def each(request):
    config = SMALL[request.param]
    return request.param, config, build(config, 0)


def test_sites_are_named_and_captured(each):
    name, config, model = each
    probe = pwact.probe(model, images(config))
    wanted = [*SITES[name], "head"]
    outputs, captures = probe.run(probe.variables, images(config), sites=wanted)
    assert outputs.shape == (2, 5)
    assert [captures[site].shape[1:] for site in wanted] == [probe.sites[site].shape for site in wanted]
    assert probe.traces == 1


def test_both_programs_have_the_same_variables_and_results(each):
    _, config, model = each
    other = build(config, 0, form="slices")
    model.eval(), other.eval()
    assert jax.tree.structure(nnx.state(model)) == jax.tree.structure(nnx.state(other))
    one, two = jax.jit(lambda x: (model(x), other(x)))(images(config))
    # Logits of order 1 after at most ten float32 convolutions.
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_seed_decides_the_variables(each):
    _, config, model = each
    again, other = nnx.state(build(config, 0)), nnx.state(build(config, 1))
    for leaf, same in zip(jax.tree.leaves(nnx.state(model)), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(leaf, same)
    assert (again["head"]["kernel"][...] != other["head"]["kernel"][...]).any()


def slopes(config, form):
    """(variables, images) -> gradients of a loss in training mode."""
    model = nnx.eval_shape(lambda: build(config, 0, form=form))
    model.train()
    graph = nnx.graphdef(model)

    def of(variables, x):
        params, rest = nnx.split_state(variables, nnx.Param, ...)

        def loss(params):
            return (nnx.merge(graph, nnx.merge_state(params, rest), copy=True)(x) ** 2).sum()

        return jax.grad(loss)(params)

    return of


def test_every_parameter_gets_a_gradient(each):
    name, config, model = each
    found = jax.jit(slopes(config, "lax"))(nnx.state(model), images(config, 4))
    for path, slope in nnx.to_flat_state(found):
        assert np.isfinite(slope[...]).all(), path
        # A bias before BatchNorm changes nothing.
        assert (slope[...] != 0).any() or (name == "vgg" and path[-2:] == ("conv", "bias")), path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bottleneck", "mobilenet", "vgg"])
def test_seeds_side_by_side_in_a_scan_have_the_gradients_of_each(name):
    """As accelerators train: slices in place of convolutions, seeds under vmap, steps under scan."""
    config = SMALL[name]
    x = jax.random.normal(jax.random.key(1), (2, 4, *config.image_shape))
    variables = jax.jit(jax.vmap(lambda key: nnx.state(build(config, key))))(
        jax.random.split(jax.random.key(0), 2)
    )

    @jax.jit
    def together(variables, x):
        step = jax.vmap(slopes(config, "slices"))
        return jax.lax.scan(lambda carry, _: (carry, step(variables, x)), 0, None, length=2)[1]

    both, alone = together(variables, x), jax.jit(slopes(config, "lax"))
    for seed in range(2):
        exact = alone(jax.tree.map(lambda leaf, seed=seed: leaf[seed], variables), x[seed])
        for one, other in zip(jax.tree.leaves(both), jax.tree.leaves(exact), strict=True):
            # Gradients of up to 10, through sums over four images and all points in float32.
            np.testing.assert_allclose(one[1, seed], other, atol=1e-4)


@pytest.mark.parametrize("name", ["basic", "hmax"])
def test_a_sweep_goes_through(name):
    config = SMALL[name]
    pixels = np.random.default_rng(0).integers(0, 256, (24, *config.image_shape), np.uint8)
    data = pwact.data.arrays(pixels, np.arange(24) % 5, name="noise")
    probe = pwact.probe(build(config, 0), images(config))
    preprocess = pwact.data.Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
    site = {"basic": "blocks.1.relu@2", "hmax": "bands.0.c1"}[name]
    results = pwact.sweep(
        probe, probe.variables, data, {"moments": pwact.stats.moments()}, sites=[site], preprocess=preprocess
    )
    captured = probe.run(probe.variables, preprocess(pixels), sites=[site])[1][site]
    np.testing.assert_allclose(results[site]["moments.mean"], np.asarray(captured).mean(0), atol=1e-5)


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (97, 3)])
@pytest.mark.parametrize(
    "factory",
    [quick, small_receptive_field, cifar_resnet, mobilenet, vgg, WideResNet, HMAX, resnet],
    ids=lambda factory: factory.__name__,
)
def test_published_networks_take_images_of_any_reasonable_size(factory, side, channels):
    side = max(side, 32) if factory is resnet else side
    config = factory((side, side + 3, channels), 7)
    model = nnx.eval_shape(lambda: build(config, 0))
    model.eval()
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct((2, *config.image_shape), jnp.float32)
    assert jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x).shape == (2, 7)


TOO_SMALL = [
    (lambda: resnet((31, 64, 3), 2), "at least 32x32 pixels for this ResNet; found 31x64"),
    (lambda: cifar_resnet((3, 8, 3), 2), "at least 4x4 pixels"),
    (lambda: WideResNet((8, 3, 3), 2), "at least 4x4 pixels for a WideResNet"),
    (lambda: vgg((15, 15, 3), 2), "at least 16x16 pixels for this VGG"),
    (lambda: vgg((31, 31, 3), 2, head="large"), "at least 32x32 pixels"),
    (lambda: mobilenet((7, 9, 3), 2), "at least 8x8 pixels for this MobileNet"),
    (lambda: HMAX((12, 28, 1), 2, bands=1), "at least 13x13 pixels for this HMAX"),
    (lambda: HMAX((15, 28, 1), 2, bands=2), "at least 16x16 pixels"),
]


@pytest.mark.parametrize(("make", "message"), TOO_SMALL, ids=[message for _, message in TOO_SMALL])
def test_images_that_are_too_small_are_refused_before_anything_is_built(make, message):
    with pytest.raises(PwactError, match=message):
        make()


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        ("basic", {"blocks": (1, 1, 1)}, "one width a stage"),
        ("basic", {"widths": (4, 0)}, "widths of positive"),
        ("basic", {"num_classes": 0}, "num_classes of positive"),
        ("basic", {"image_shape": (0, 8, 3)}, "image_shape as"),
        ("vgg", {"stages": ()}, "stages of positive"),
        ("vgg", {"stages": ((4, -1),)}, "stages of positive"),
        ("wide", {"depth": 20}, r"a depth of 6n \+ 4"),
        ("mobilenet", {"strides": (1, 1)}, "3 widths and 2 strides"),
        ("hmax", {"bands": 0}, "bands of positive"),
    ],
)
def test_fields_that_make_no_network(config, change, message):
    with pytest.raises(PwactError, match=message):
        dataclasses.replace(SMALL[config], **change)


@pytest.mark.parametrize("factory", [resnet, cifar_resnet, vgg])
def test_depths_that_are_not_published(factory):
    with pytest.raises(PwactError, match=r"depth.*found depth=21"):
        factory((64, 64, 3), 10, depth=21)


def test_cells_are_the_means_that_pytorch_takes():
    # torch.nn.AdaptiveAvgPool1d(7) of 0..9 and of two values, from PyTorch 2.14.
    ten, two = jnp.arange(10.0).reshape(1, 10, 1, 1), jnp.array([1.0, 5.0]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(cells(ten, 1)[0, :, 0, 0], [0.5, 1.5, 3, 4.5, 6, 7.5, 8.5], atol=1e-6)
    np.testing.assert_allclose(cells(two, 1)[0, :, 0, 0], [1, 1, 1, 3, 5, 5, 5], atol=1e-6)


def test_a_padded_shortcut_keeps_every_second_point():
    x = jnp.arange(2.0 * 5 * 4 * 3).reshape(2, 5, 4, 3)
    y = Padding(2, 2)(x)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], jnp.zeros((2, 3, 2, 2)))


@pytest.mark.parametrize("form", ["lax", "slices"])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolution_against_scipy(form, stride):
    layer = Depthwise(3, 3, stride, Parts("batch", form, nnx.Rngs(0)))
    x = np.random.default_rng(0).normal(size=(1, 8, 7, 3))
    kernel = np.asarray(layer.kernel[...], np.float64)
    exact = np.stack(
        [
            scipy.signal.correlate2d(np.pad(x[0, :, :, k], 1), kernel[:, :, 0, k], "valid")[
                ::stride, ::stride
            ]
            for k in range(3)
        ],
        -1,
    )
    # Nine products of order 1 in float32.
    np.testing.assert_allclose(layer(jnp.asarray(x, jnp.float32))[0], exact, atol=2e-6)


def test_gabor_filters_have_no_mean_and_length_one():
    for size in (7, 9, 15):
        filters = gabor(size, 4).astype(np.float64)
        assert filters.shape == (size, size, 1, 4)
        # At most 225 values, each rounded to float32.
        np.testing.assert_allclose(filters.sum((0, 1, 2)), 0, atol=1e-6)
        np.testing.assert_allclose((filters**2).sum((0, 1, 2)), 1, atol=1e-6)
    # Half a turn in four steps: the third filter is the first one turned by a right angle.
    np.testing.assert_allclose(filters[..., 0, 2], filters[..., 0, 0].T, atol=1e-6)


def test_hmax_against_its_formulas_in_float64():
    config = SMALL["hmax"]
    model = build(config, 3)
    x = np.random.default_rng(0).normal(size=(1, *config.image_shape))
    gray = x[0].mean(-1)
    templates = np.asarray(model.s2.kernel[...], np.float64)

    def s1(size):
        kernels = gabor(size, 4).astype(np.float64)[:, :, 0]
        length = np.sqrt(scipy.signal.correlate2d(gray**2, np.ones((size, size)), "same") + CONTRAST)
        found = [np.abs(scipy.signal.correlate2d(gray, kernels[..., k], "same")) / length for k in range(4)]
        return np.stack(found, -1)

    best = np.zeros(6)
    for band in range(2):
        fine = np.maximum(s1(7 + 4 * band), s1(9 + 4 * band))
        size = 8 + 2 * band
        step = size // 2
        counts = [-(-length // step) for length in gray.shape]
        before = [
            max((n - 1) * step + size - length, 0) // 2 for n, length in zip(counts, gray.shape, strict=True)
        ]
        c1 = np.array(
            [
                [
                    fine[
                        max(r * step - before[0], 0) : r * step - before[0] + size,
                        max(c * step - before[1], 0) : c * step - before[1] + size,
                    ].max((0, 1))
                    for c in range(counts[1])
                ]
                for r in range(counts[0])
            ]
        )
        for r in range(counts[0] - 3):
            for c in range(counts[1] - 3):
                distance = ((c1[r : r + 4, c : c + 4, :, None] - templates) ** 2).sum((0, 1, 2))
                best = np.maximum(best, np.exp(-distance / 2))
    exact = best @ np.asarray(model.head.kernel[...], np.float64) + np.asarray(model.head.bias[...])
    # The squared distance, of order 10, is a difference of sums in float32.
    np.testing.assert_allclose(model(jnp.asarray(x, jnp.float32))[0], exact, atol=1e-5)


def test_of_hmax_only_the_readout_is_trained():
    state = nnx.state(build(SMALL["hmax"], 0))
    trained, fixed = nnx.split_state(state, nnx.Param, Fixed)
    assert set(trained) == {"head"} and set(fixed) == {"bands", "s2"}


def test_an_image_without_contrast_is_no_nan_in_hmax():
    config = SMALL["hmax"]
    assert np.isfinite(build(config, 0)(jnp.zeros((1, *config.image_shape)))).all()


@pytest.mark.parametrize("name", ["basic", "bottleneck", "wide", "vgg", "mobilenet"])
@pytest.mark.parametrize("norm", ["none", "group", "weight_align(gain='unit')", Doubled])
def test_norms_come_through_the_door(name, norm):
    config = dataclasses.replace(SMALL[name], norm=norm)
    model = nnx.eval_shape(lambda: build(config, 0))
    paths = {path for path, _ in nnx.to_flat_state(nnx.state(model))}
    assert any(path[-1] == "mean" for path in paths) is False
    assert any("norm1" in path or "norm" in path for path in paths) == (norm in ("group",))
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct((2, *config.image_shape), jnp.float32)
    assert jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x).shape == (2, 5)
    if isinstance(norm, str):
        assert from_dict(to_dict(config)) == config
    else:
        with pytest.raises(PwactError, match=r"pass config= with the norm of your own"):
            from_dict(to_dict(config))


def test_a_norm_that_is_not_there():
    with pytest.raises(PwactError, match=r"one of: batch, .*found 'bathc'; nearest: batch"):
        dataclasses.replace(SMALL["basic"], norm="bathc")
