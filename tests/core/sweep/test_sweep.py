"""One pass of a dataset into statistics: against float64, every image once, faults named."""

from __future__ import annotations

import gc
import inspect
import json
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.ad_checkpoint import checkpoint_name

import pwact
from pwact.core.accumulator import Accumulator, Named
from pwact.core.sweep import program
from pwact.errors import NonFiniteError, PwactError
from pwact.stats import (
    by_class,
    exact_quantiles,
    extrema,
    firing,
    histogram,
    moments,
    named,
    of_gradient,
    on,
    per_channel,
    top_k,
)

IMAGES, CLASSES = 37, 4
STATISTICS = {"m": moments(), "e": extrema(), "f": firing(), "c": by_class(moments(), CLASSES), "t": top_k(2)}
SITES = ("stem", "relu")


def model(variables, image):
    """A convolution (`stem`), a ReLU, a mean, a matrix; logits [batch, class]."""
    kernel, head = variables
    layout = ("NHWC", "HWIO", "NHWC")
    stem = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)
    stem = checkpoint_name(stem, "stem")
    return jax.nn.relu(stem).mean((1, 2)) @ head


def preprocess(image):
    return image.astype(jnp.float32) / 255.0 - 0.5


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(3, 3, 2, 6)).astype(np.float32),
        rng.normal(size=(6, CLASSES)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    label = rng.integers(0, CLASSES - 1, IMAGES)  # the last class holds no image
    return pwact.data.arrays(
        rng.integers(0, 256, (IMAGES, 5, 5, 2), np.uint8), label, num_classes=CLASSES, name="noise"
    )


@pytest.fixture(scope="module")
def probe(variables):
    return pwact.probe(model, jnp.zeros((2, 5, 5, 2)), variables=variables)


@pytest.fixture(scope="module")
def by_hand(variables, data):
    """The activations in float64, without pwact or JAX."""
    kernel, _ = (array.astype(np.float64) for array in variables)
    image = np.pad(data.images / 255.0 - 0.5, ((0, 0), (1, 1), (1, 1), (0, 0)))
    stem = sum(image[:, r : r + 5, c : c + 5] @ kernel[r, c] for r in range(3) for c in range(3))
    return {"stem": stem, "relu": np.maximum(stem, 0)}


def floats(images, name="floats"):
    images = np.asarray(images, np.float32)
    return pwact.data.arrays(images, np.arange(len(images)) % 3, num_classes=3, name=name)


def sweep(probe, variables, data, statistics=None, **kwargs):
    kwargs = {"sites": SITES, "preprocess": preprocess, **kwargs}
    return pwact.sweep(probe, variables, data, statistics or {"m": moments()}, **kwargs)


@pytest.fixture
def compilations(monkeypatch):
    made = []
    original = program._compile
    monkeypatch.setattr(program, "_compile", lambda *args: made.append(1) or original(*args))
    return made


SIZES = [
    {},
    {"batch_size": 10},
    {"batch_size": 1000, "micro_batch": 8},
    {"batch_size": 9, "micro_batch": 4},
    {"batch_size": 1},
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_statistics_are_those_of_float64_whatever_the_batches(probe, variables, data, by_hand, sizes):
    tree = sweep(probe, variables, data, STATISTICS, **sizes)
    assert list(tree.children) == list(SITES)
    for site, exact in by_hand.items():
        node = tree[site]
        # The activations themselves are float32: 18 products of size up to 0.5 * 3, so errors of 1e-6.
        np.testing.assert_allclose(node["m.mean"], exact.mean(0), atol=2e-6)
        np.testing.assert_allclose(node["m.variance"], exact.var(0), rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(node["e.min"], exact.min(0), atol=5e-6)
        np.testing.assert_allclose(node["e.max"], exact.max(0), atol=5e-6)
        np.testing.assert_array_equal(node["e.max_index"], exact.argmax(0))
        np.testing.assert_allclose(node["f.share"], (exact > 0).mean(0), atol=1e-6)
        assert node["m.count"] == IMAGES and node["m.count"].dtype == np.int64
        for c in range(CLASSES - 1):
            own = exact[data.labels == c]
            assert node["c.count"][c] == len(own)
            np.testing.assert_allclose(node["c.mean"][c], own.mean(0), atol=2e-6)
        assert node["c.count"][-1] == 0 and np.isnan(node["c.mean"][-1]).all()
        best = exact.reshape(IMAGES, 25, 6).max(1)
        np.testing.assert_array_equal(node["t.index"], np.argsort(-best, axis=0)[:2])
        at = node["t.row"].values * 5 + node["t.column"].values
        np.testing.assert_array_equal(
            at[0], [exact[i, ..., c].argmax() for c, i in enumerate(best.argmax(0))]
        )


def test_the_result_says_how_it_came_to_be(probe, variables, data, tmp_path):
    tree = sweep(probe, variables, data, STATISTICS, batch_size=10, micro_batch=5)
    attrs = tree.attrs
    assert attrs["dataset"] == "noise" and attrs["dataset_sha256"] == data.fingerprint
    assert attrs["index_sha256"] == data.index_hash and attrs["images"] == IMAGES
    assert json.loads(attrs["sites"]) == list(SITES) and list(json.loads(attrs["statistics"])) == list(
        STATISTICS
    )
    assert json.loads(attrs["statistics"])["c"] == "by_class(acc=moments(order=2), num_classes=4)"
    assert (attrs["batch_size"], attrs["micro_batch"]) == (10, 5)
    assert "preprocess" in attrs["preprocess"] and f"jax={jax.__version__}" in attrs["versions"]
    pwact.core.check_same_model(tree, variables)
    pwact.core.save_results(tree, tmp_path / "r.nc")
    assert pwact.open_results(tmp_path / "r.nc").identical(tree)
    recorded = sweep(probe, variables, data, preprocess=pwact.data.Preprocess((0.5,), (2.0,)))
    assert recorded.attrs["preprocess"] == "(image - [0.5]) / [2]"


def test_the_same_bits_again(probe, variables, data):
    first, second = (sweep(probe, variables, data, STATISTICS) for _ in range(2))
    for site in SITES:
        xr.testing.assert_identical(first[site].dataset, second[site].dataset)


def test_a_subset_keeps_the_indices_of_the_whole(probe, variables, data):
    part = pwact.data.split(data, seed=0)["test"]
    whole = {int(i) for i in part.read(np.arange(len(part))).index}
    tree = sweep(probe, variables, part, {"e": extrema()})
    assert set(np.unique(tree["stem"]["e.max_index"])) <= whole
    assert tree.attrs["index_sha256"] == part.index_hash != data.index_hash


def test_many_sets_of_variables_compile_once(variables, data, compilations):
    own = pwact.probe(model, jnp.zeros((2, 5, 5, 2)), variables=variables)
    means = []
    for scale in range(1, 41):
        scaled = jax.tree.map(lambda array, scale=scale: array * np.float32(scale), variables)
        tree = pwact.sweep(
            own,
            scaled if scale % 2 else jax.tree.map(jnp.asarray, scaled),
            data,
            {"m": moments(), "o": on(lambda x: x * 2.0, firing(threshold=0.0))},
            sites=["relu"],
            preprocess=lambda image: image.astype(jnp.float32) / 255.0,
            logits=lambda outputs: outputs,
        )
        means.append(float(tree["relu"]["m.mean"].mean()))
    assert len(compilations) == 1 and own.traces == 1
    np.testing.assert_allclose(means, np.arange(1, 41) * means[0], rtol=1e-5)


def test_programs_go_with_their_probe(variables, data):
    own = pwact.probe(model, jnp.zeros((2, 5, 5, 2)), variables=variables)
    sweep(own, variables, data)
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None


def test_progress_ends_at_all_images(probe, variables, data):
    seen = []
    sweep(probe, variables, data, batch_size=10, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 37), (10, 37), (20, 37), (30, 37), (37, 37)]


def decided() -> Accumulator:
    """How often each class was the model's decision: a statistic of the prediction alone."""

    def count(state, seen):
        return state + (jax.nn.one_hot(seen.prediction, CLASSES) * seen.valid[:, None]).sum(0)

    return Accumulator(
        lambda spec: jnp.zeros(CLASSES), count, jnp.add, lambda state: {"times": Named(state, ("decision",))}
    )


def test_predictions_are_the_models_own(probe, variables, data):
    tree = sweep(probe, variables, data, {"d": decided()})
    logits = np.asarray(model(variables, preprocess(data.images)))
    np.testing.assert_array_equal(tree["stem"]["d.times"], np.bincount(logits.argmax(1), minlength=CLASSES))


def test_logits_are_picked_out_of_other_outputs(variables, data):
    several = pwact.probe(
        lambda v, x: {"logits": model(v, x), "rest": x}, jnp.zeros((2, 5, 5, 2)), variables=variables
    )
    with pytest.raises(PwactError, match=r"dict.*logits=lambda"):
        sweep(several, variables, data, {"d": decided()}, sites=["stem"])
    asks_for_none = {"m": moments(), "c": by_class(moments(), CLASSES), "p": per_channel(extrema())}
    assert sweep(several, variables, data, asks_for_none, sites=["stem"])["stem"]["m.count"] == IMAGES
    found = sweep(
        several, variables, data, {"d": decided()}, sites=["stem"], logits=lambda out: out["logits"]
    )
    assert found["stem"]["d.times"].sum() == IMAGES
    pair = pwact.probe(lambda v, x: (model(v, x), x), jnp.zeros((2, 5, 5, 2)), variables=variables)
    with pytest.raises(PwactError, match=r"tuple.*logits=lambda"):
        sweep(pair, variables, data, {"d": decided()}, sites=["stem"])


def test_logits_need_be_finite_only_where_they_are_looked_at(data):
    own = pwact.probe(lambda x: jnp.log(-1.0 - x.mean((1, 2)) ** 2), jnp.zeros((2, 5, 5, 2)))
    assert sweep(own, None, data, sites=["input"])["input"]["m.count"] == IMAGES
    pooled = sweep(own, None, data, {"p": per_channel(by_class(moments(), CLASSES))}, sites=["input"])
    assert pooled["input"]["p.count"].sum() == IMAGES * 25
    with pytest.raises(NonFiniteError, match=r"the logits.*dataset index 0"):
        sweep(own, None, data, {"d": decided()}, sites=["input"])


def reciprocal(variables, image):
    """Infinite where a pixel is 3, from the second site on."""
    shifted = checkpoint_name(image - 3.0, "shifted")
    inverse = checkpoint_name(1.0 / shifted, "inverse")
    return checkpoint_name(inverse * variables, "again").mean((1, 2))


@pytest.mark.parametrize("sizes", [{}, {"batch_size": 8, "micro_batch": 4}], ids=str)
def test_an_activation_that_is_not_finite_is_named(sizes):
    own = pwact.probe(reciprocal, jnp.zeros((2, 4, 4, 2)), variables=jnp.ones(()))
    images = np.ones((30, 4, 4, 2))
    images[13, 2, 1, 1] = images[[14, 15, 26], 0, 0, 0] = 3.0  # 15 is read first: its label is 0
    with pytest.raises(
        NonFiniteError, match=r"'inverse'; found inf .* dataset index 13, channel 1, at \[2, 1, 1\]"
    ):
        pwact.sweep(own, jnp.ones(()), floats(images), {"f": firing()}, sites=["again", "inverse"], **sizes)
    assert pwact.sweep(own, jnp.ones(()), floats(images), {"f": firing()}, sites=["shifted"], **sizes)


def test_pixels_that_are_not_finite_are_named(probe, variables, data):
    with pytest.raises(NonFiniteError, match=r"the model sees; found nan .* dataset index 2, channel 1"):
        sweep(probe, variables, data, preprocess=lambda image: nan_at(image, data.images[2]))


def nan_at(image, one):
    """NaN in channel 1 of the image that is `one`."""
    same = (image == one[None]).all((1, 2, 3), keepdims=True)
    return jnp.where(same & (jnp.arange(2) == 1)[None, None, None], jnp.nan, preprocess(image))


def test_variables_that_are_not_finite_are_refused_before_anything_runs(probe, variables, data, compilations):
    broken = (variables[0], variables[1] * np.nan)

    def never(batch):
        raise AssertionError("an image was read")

    with pytest.raises(NonFiniteError, match=r"24 of 24 not finite in \[1\]"):
        sweep(probe, broken, with_read(data, never))
    assert not compilations


def test_a_sum_that_overflows_is_an_error_and_not_infinity():
    own = pwact.probe(lambda x: x.mean((1, 2)), jnp.zeros((2, 1, 1, 1)))
    images = np.array([3e38, -3e38, 3e38]).reshape(3, 1, 1, 1)
    with pytest.raises(NonFiniteError, match=r"'m\.variance' of 'input'"):
        pwact.sweep(own, None, floats(images), {"m": moments()}, sites=["input"])


def test_what_a_function_of_the_user_breaks_is_an_error(probe, variables, data):
    for statistic in (moments(), firing(), extrema()):
        broken = on(lambda x: jnp.log(x), statistic)
        with pytest.raises(NonFiniteError, match=r"function given to on\(\) returned is not finite"):
            sweep(probe, variables, data, {"b": broken}, sites=["relu"])
    within = {"b": on(lambda x: jnp.log1p(x), moments())}
    assert np.isfinite(sweep(probe, variables, data, within, sites=["relu"])["relu"]["b.mean"]).all()


def with_read(data, change):
    class Changed:
        def __init__(self):
            self.__dict__.update(
                {name: getattr(data, name) for name in ("name", "num_classes", "image_shape", "labels")}
            )
            self.fingerprint, self.index_hash = data.fingerprint, data.index_hash

        def __len__(self):
            return len(data)

        def read(self, positions):
            return change(data.read(positions))

    return Changed()


def test_a_doubled_or_missing_image_is_an_error(probe, variables, data):
    doubled = with_read(data, lambda batch: batch._replace(index=np.where(batch.index == 5, 4, batch.index)))
    with pytest.raises(PwactError, match="more than once, first dataset index 4"):
        sweep(probe, variables, doubled)
    foreign = with_read(data, lambda batch: batch._replace(index=np.where(batch.index == 5, 99, batch.index)))
    with pytest.raises(PwactError, match="the images that 'noise' says it holds"):
        sweep(probe, variables, foreign)
    missing = with_read(data, lambda batch: batch._replace(valid=batch.index != 5))
    with pytest.raises(PwactError, match="36 read and 36 counted"):
        sweep(probe, variables, missing)


def test_an_interruption_stops_cleanly(probe, variables, data):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = threading.active_count()
    for arguments in ({"data": with_read(data, interrupt)}, {"data": data, "progress": interrupt}):
        with pytest.raises(KeyboardInterrupt):
            sweep(probe, variables, batch_size=5, **arguments)
        assert threading.active_count() == before
    assert sweep(probe, variables, data)["stem"]["m.count"] == IMAGES


def test_a_site_in_half_precision(data):
    def half(image):
        return checkpoint_name(image.astype(jnp.bfloat16), "half").mean((1, 2)).astype(jnp.float32)

    own = pwact.probe(half, jnp.zeros((2, 5, 5, 2)))
    tree = sweep(own, None, data, {"m": moments(), "e": extrema()}, sites=["half", "input"])
    exact = np.asarray(preprocess(data.images).astype(jnp.bfloat16), np.float64)
    assert tree["half"]["m.mean"].dtype == np.float32
    np.testing.assert_allclose(tree["half"]["m.mean"], exact.mean(0), atol=1e-7)
    np.testing.assert_array_equal(tree["half"]["e.max"], exact.max(0))


def test_a_site_that_does_not_keep_the_batch_in_front(data):
    def looping(image):
        def turn(carry, _):
            return jax.nn.relu(carry - 0.1), None

        return jax.lax.scan(turn, image, None, length=3)[0].mean((1, 2))

    own = pwact.probe(looping, jnp.zeros((2, 5, 5, 2)))
    inside = next(name for name, site in own.sites.items() if site.batch_axis == 1)
    with pytest.raises(PwactError, match="first axis is the batch"):
        sweep(own, None, data, sites=[inside])


def test_a_site_in_a_branch_and_a_map_of_channels_first_are_refused(data):
    def branching(image):
        return jax.lax.cond(image.sum() > 0, jax.nn.relu, jnp.tanh, image).mean((1, 2))

    own = pwact.probe(branching, jnp.zeros((2, 5, 5, 2)))
    inside = next(name for name, site in own.sites.items() if site.when.startswith("branch"))
    with pytest.raises(PwactError, match="sites that every image passes"):
        sweep(own, None, data, sites=[inside])

    def channels_first(image):
        kernel = jnp.ones((3, 2, 1, 1))
        layout = ("NCHW", "OIHW", "NCHW")
        x = jax.lax.conv_general_dilated(
            jnp.moveaxis(image, -1, 1), kernel, (1, 1), "SAME", dimension_numbers=layout
        )
        x = checkpoint_name(x, "first")
        return checkpoint_name(jnp.moveaxis(x, 1, -1), "last").mean((1, 2))

    own = pwact.probe(channels_first, jnp.zeros((2, 5, 5, 2)))
    with pytest.raises(PwactError, match="axes are batch, row, column, channel"):
        sweep(own, None, data, sites=["first"])
    assert dict(sweep(own, None, data, sites=["last"])["last"].sizes)["channel"] == 3


def product() -> Accumulator:
    """The sum over images of the product of two sites, point by point: a statistic of a pair."""

    def update(state, seen):
        one, other = seen.activation
        return state + jnp.where(seen.valid[:, None, None, None], one * other, 0).sum(0)

    return Accumulator(
        *(lambda specs: jnp.zeros(specs[0].shape), update, jnp.add),
        lambda state: {"sum": Named(state, ("row", "column", "channel"))},
        pairwise=True,
    )


def around_the_mean() -> Accumulator:
    """The mean in a first pass; how many images lie above it in a second."""

    def update(state, seen):
        done, total, images, above = state
        x, valid = seen.activation, seen.valid[:, None, None, None]
        first = done == 0
        over = (valid & (x > (total / jnp.maximum(images, 1))[None])).sum(0)
        return (
            done,
            total + jnp.where(first, jnp.where(valid, x, 0).sum(0), 0),
            images + jnp.where(first, seen.valid.sum(), 0),
            above + jnp.where(first, 0, over),
        )

    return Accumulator(
        lambda spec: (
            jnp.zeros((), int),
            jnp.zeros(spec.shape),
            jnp.zeros((), int),
            jnp.zeros(spec.shape, int),
        ),
        update,
        lambda left, right: left,
        lambda state: {"above": Named(state[3], ("row", "column", "channel"))},
        advance=lambda state: (state[0] + 1, *state[1:]),
        passes=2,
    )


def test_statistics_that_read_twice_do_and_others_do_not(probe, variables, data, by_hand):
    seen = []
    statistics = {"m": moments(), "a": around_the_mean(), "e": extrema()}
    tree = sweep(probe, variables, data, statistics, progress=lambda *at: seen.append(at), batch_size=20)
    assert seen == [(0, 74), (20, 74), (37, 74), (57, 74), (74, 74)] and tree.attrs["passes"] == 2
    for site, exact in by_hand.items():
        np.testing.assert_array_equal(tree[site]["a.above"], (exact > exact.mean(0)).sum(0))
        assert tree[site]["m.count"] == IMAGES
        np.testing.assert_allclose(tree[site]["m.mean"], exact.mean(0), atol=2e-6)
        assert [name.partition(".")[0] for name in tree[site].data_vars] == [*"mmm", "a", *"eeee"]


def test_every_reading_sees_the_same_bits():
    """A model that XLA may round in many ways; statistics of one, two and four readings, and gradients."""
    rng = np.random.default_rng(5)
    kernel = rng.normal(size=(3, 3, 3, 8)).astype(np.float32)
    scale, shift = rng.normal(size=(2, 8)).astype(np.float32)

    def normalising(variables, image):
        kernel, scale, shift = variables
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)
        x = checkpoint_name(x * scale[None, None, None] + shift[None, None, None], "scaled")
        x = checkpoint_name(jax.nn.gelu(x), "active")
        length = jnp.sqrt((x * x).sum(-1, keepdims=True) + 1e-3)
        return checkpoint_name(jax.nn.silu(x / length * scale[None, None, None]), "unit").mean((1, 2))

    variables = (kernel, scale, shift)
    data = floats(rng.normal(size=(96, 9, 9, 3)))
    own = pwact.probe(normalising, jnp.zeros((2, 9, 9, 3)), variables=variables)
    sites = ["scaled", "active", "unit"]
    statistics = {
        **{"m": moments(4), "e": extrema(), "g": of_gradient(moments()), "h": histogram(8)},
        "q": exact_quantiles((0.0, 1.0)),
    }
    tree = pwact.sweep(
        own, variables, data, statistics, sites=sites, gradient_of=lambda logits, *_: logits[:, 0]
    )
    for site in sites:
        node = tree[site]
        np.testing.assert_array_equal(node["q.value"][0], node["e.min"])
        np.testing.assert_array_equal(node["q.value"][1], node["e.max"])
        assert not node["h.below"].any() and not node["h.above"].any()


def test_statistics_of_pairs_have_a_node_a_pair(probe, variables, data, by_hand):
    sites = ["relu", "input", "stem"]
    tree = sweep(probe, variables, data, {"m": moments(), "p": product()}, sites=sites[::2])
    assert list(tree.children) == ["stem", "relu", "stem & relu"]
    expected = (by_hand["stem"] * by_hand["relu"]).sum(0)
    np.testing.assert_allclose(tree["stem & relu"]["p.sum"], expected, rtol=1e-5)
    only = sweep(probe, variables, data, {"p": product()}, sites=["stem", "relu"])
    assert list(only.children) == ["stem & relu"]


def test_the_gradient_of_what_is_asked_for(probe, variables, data):
    def slope_of(acc):
        return acc._replace(
            update=lambda state, seen: acc.update(state, seen._replace(activation=seen.gradient))
        )

    def of(logits, label, prediction):
        return jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0]

    slope = slope_of(moments())
    tree = sweep(probe, variables, data, {"m": moments(), "g": slope}, gradient_of=of, batch_size=10)
    # The logit of a label is the mean over 25 points of the ReLU map times its column of the head.
    column = variables[1].astype(np.float64)[:, data.labels].T / 25
    np.testing.assert_allclose(tree["relu"]["g.mean"][2, 3], column.mean(0), rtol=1e-5)
    assert "test_sweep.test_the_gradient" in tree.attrs["gradient_of"]
    plain = sweep(probe, variables, data, {"m": moments()}, batch_size=10)
    np.testing.assert_allclose(plain["stem"]["m.mean"], tree["stem"]["m.mean"], atol=1e-6)
    with pytest.raises(NonFiniteError, match=r"the gradient at 'stem'"):
        sweep(probe, variables, data, {"g": slope}, gradient_of=lambda logits, *_: jnp.log(logits[:, 0] * 0))


def test_object_masks_reach_the_statistics():
    def inside(state, seen):
        x = jnp.where(seen.mask[..., None] & seen.valid[:, None, None, None], seen.activation, 0)
        return state + x.sum((0, 1, 2))

    share = Accumulator(
        *(lambda spec: jnp.zeros(spec.shape[-1]), inside, jnp.add),
        lambda state: {"sum": Named(state, ("channel",))},
    )
    data = pwact.data.load("shape_texture(size=50)")
    own = pwact.probe(lambda x: x.mean((1, 2)), jnp.zeros((2, *data.image_shape)))
    tree = pwact.sweep(
        own,
        None,
        data,
        {"s": share},
        sites=["input"],
        preprocess=lambda x: x.astype(jnp.float32),
        batch_size=16,
    )
    everything = np.arange(len(data))
    pixels = data.read(everything).image.astype(np.float64)
    expected = (data.masks(everything)[..., None] * pixels).sum((0, 1, 2))
    np.testing.assert_allclose(tree["input"]["s.sum"], expected, rtol=1e-6)


REFUSED = {
    "an unknown site": ({"sites": ["stam"]}, "'stem'"),
    "no site": ({"sites": []}, "sequence of site names"),
    "a text for sites": ({"sites": "stem"}, "sequence of site names"),
    "a site twice": ({"sites": ["stem", "relu", "stem"]}, "each site once"),
    "no statistic": ({"statistics": {}}, "one statistic or more"),
    "a list of statistics": ({"statistics": [moments()]}, "one statistic or more, by name"),
    "a bare array": ({"dataset": np.zeros((3, 5, 5, 2))}, r"make one with pwact.data.arrays"),
    "one site for a pair": (
        {"statistics": {"p": product()}, "sites": ["stem"]},
        r"two sites or more for p",
    ),
    "a factory": ({"statistics": {"m": moments}}, r"moments\(\) rather than moments"),
    "two results of one name": (
        {"statistics": {"a": named(b=moments()), "a.b": moments()}},
        r"'a.b.count' twice",
    ),
    "a name with a slash": ({"statistics": {"a/b": moments()}}, "without '/'"),
    "batch size 0": ({"batch_size": 0}, "batch_size of 1 or more"),
    "batch size 1.5": ({"batch_size": 1.5}, "whole number"),
    "micro-batch 0": ({"micro_batch": 0}, "micro_batch of 1 or more"),
    "micro-batch in words": ({"micro_batch": "quick"}, "micro_batch of 1 or more"),
    "top_k too large": (
        {"statistics": {"t": top_k(IMAGES + 1)}},
        "37 ranks or fewer, the images of .*more than there are",
    ),
    "more ranks than points": (
        {"statistics": {"t": per_channel(top_k(IMAGES * 5 * 5 + 1))}, "sites": ["input"]},
        "925 ranks or fewer, the points of",
    ),
    "too few classes": ({"statistics": {"c": by_class(moments(), 2)}}, "labels in 0 .. 1"),
    "a map is needed": ({"statistics": {"t": on(lambda x: x[:, :, :, 0], top_k(1))}}, "activation map"),
    "no preprocessing of uint8": ({"preprocess": None}, "float32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_are_refused(probe, variables, data, compilations, case):
    change, words = REFUSED[case]
    arguments = {
        **{"dataset": data, "statistics": {"m": moments()}, "sites": SITES, "preprocess": preprocess},
        **change,
    }
    untyped = inspect.unwrap(pwact.sweep)  # as users call it: without the tests' check of types
    with pytest.raises(PwactError, match=words):
        untyped(probe, variables, **arguments)
    assert not compilations


def test_an_empty_dataset(probe, variables, data):
    class Empty(type(data)):
        def __len__(self):
            return 0

    with pytest.raises(PwactError, match="one image or more"):
        sweep(probe, variables, Empty(data.images, data.labels, CLASSES, "empty"))


def test_images_of_another_shape(probe, variables):
    with pytest.raises(PwactError, match=r"float32\[2, 5, 5, 2\]|5, 5, 2"):
        sweep(probe, variables, floats(np.zeros((3, 5, 5, 3))), preprocess=None)


def test_of_a_channel_more_points_are_ranked_than_there_are_images(probe, variables, data):
    tree = sweep(probe, variables, data, {"t": per_channel(top_k(IMAGES + 3))}, sites=["input"])
    assert tree["input"]["t.value"].sizes["rank"] == IMAGES + 3
    assert (np.diff(tree["input"]["t.value"], axis=0) <= 0).all()


def test_top_k_of_all_images_works(probe, variables, data):
    tree = sweep(probe, variables, data, {"t": top_k(IMAGES)})
    assert np.unique(tree["stem"]["t.index"][:, 0]).tolist() == list(range(IMAGES))
