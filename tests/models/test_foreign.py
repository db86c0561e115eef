"""Weights in torchvision's layout: against an independent NumPy forward, and against torchvision itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import pwact
from pwact.errors import PwactError
from pwact.models import HMAX, VGG, ResNet, build, load_torchvision, resnet, vgg

BASIC = ResNet((11, 10, 3), 4, blocks=(1, 2), widths=(3, 5))
DEEP = ResNet((36, 34, 1), 4, blocks=(1, 1), widths=(2, 3), block="bottleneck", stem="large")
PLAIN = VGG((9, 12, 3), 4, stages=((3,), (4, 5)), hidden=6)
NORMED = VGG((9, 12, 3), 4, stages=((3,), (4, 5)), norm="batch", head="small")


class Made(dict):
    """A state dict that invents each tensor when it is first asked for."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def get(self, name, *shape):
        if name.endswith("running_var"):
            self[name] = self.rng.uniform(0.5, 2, shape).astype(np.float32)
        else:
            self[name] = (self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        return self[name].astype(np.float64)


def conv(state, name, x, outputs, size, stride=1, bias=False):
    """torch.nn.Conv2d(padding=size // 2) on [batch, channel, row, column], one output point at a time."""
    weight = state.get(f"{name}.weight", outputs, x.shape[1], size, size)
    x = np.pad(x, ((0, 0), (0, 0), *((size // 2,) * 2,) * 2))
    rows, columns = ((length - size) // stride + 1 for length in x.shape[2:])
    y = np.empty((len(x), outputs, rows, columns))
    for r in range(rows):
        for c in range(columns):
            patch = x[:, :, r * stride : r * stride + size, c * stride : c * stride + size]
            y[:, :, r, c] = np.tensordot(patch, weight, ((1, 2, 3), (1, 2, 3)))
    return y + state.get(f"{name}.bias", outputs)[:, None, None] if bias else y


def norm(state, name, x):
    """torch.nn.BatchNorm2d in evaluation."""
    scale, bias, mean, var = (
        state.get(f"{name}.{word}", x.shape[1])[:, None, None]
        for word in ("weight", "bias", "running_mean", "running_var")
    )
    state[f"{name}.num_batches_tracked"] = np.array(7)
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def linear(state, name, x, outputs):
    return x @ state.get(f"{name}.weight", outputs, x.shape[1]).T + state.get(f"{name}.bias", outputs)


def relu(x):
    return np.maximum(x, 0)


def residual(config, state, x):
    """torchvision.models.resnet in NumPy."""
    large = config.stem == "large"
    x = relu(norm(state, "bn1", conv(state, "conv1", x, config.widths[0], *((7, 2) if large else (3, 1)))))
    if large:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        x = windows[:, :, ::2, ::2].max((-1, -2))
    for stage, (count, width) in enumerate(zip(config.blocks, config.widths, strict=True), 1):
        for place in range(count):
            name, stride = f"layer{stage}.{place}", 2 if stage > 1 and place == 0 else 1
            y = x
            if config.block == "basic":
                layers = [(width, 3, stride), (width, 3, 1)]
            else:
                layers = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            for number, (outputs, size, step) in enumerate(layers, 1):
                y = norm(
                    state, f"{name}.bn{number}", conv(state, f"{name}.conv{number}", y, outputs, size, step)
                )
                y = relu(y) if number < len(layers) else y
            if x.shape != y.shape:
                x = conv(state, f"{name}.downsample.0", x, y.shape[1], 1, stride)
                x = norm(state, f"{name}.downsample.1", x)
            x = relu(x + y)
    return linear(state, "fc", x.mean((2, 3)), config.num_classes)


def stacked(config, state, x):
    """torchvision.models.vgg in NumPy, and the small head."""
    number = 0
    for stage, widths in enumerate(config.stages):
        for width in widths:
            x = conv(state, f"features.{number}", x, width, 3, bias=True)
            if config.norm == "batch":
                number += 1
                x = norm(state, f"features.{number}", x)
            x, number = relu(x), number + 2
        number += 1
        if stage < len(config.stages) - 1 or config.head == "large":
            rows, columns = x.shape[2] // 2, x.shape[3] // 2
            x = x[:, :, : 2 * rows, : 2 * columns].reshape(*x.shape[:2], rows, 2, columns, 2).max((3, 5))
    if config.head == "small":
        return linear(state, "classifier", x.mean((2, 3)), config.num_classes)
    rows, columns = x.shape[2:]
    grid = np.empty((*x.shape[:2], 7, 7))
    for r in range(7):
        for c in range(7):
            cell = x[
                :, :, r * rows // 7 : -(-(r + 1) * rows // 7), c * columns // 7 : -(-(c + 1) * columns // 7)
            ]
            grid[:, :, r, c] = cell.mean((2, 3))
    x = relu(linear(state, "classifier.0", grid.reshape(len(x), -1), config.hidden))
    x = relu(linear(state, "classifier.3", x, config.hidden))
    return linear(state, "classifier.6", x, config.num_classes)


def invented(config):
    """A state dict for a network, images, and the network's logits in float64."""
    state = Made()
    x = np.random.default_rng(1).normal(size=(3, *config.image_shape)).astype(np.float32)
    forward = residual if isinstance(config, ResNet) else stacked
    return state, x, forward(config, state, x.transpose(0, 3, 1, 2).astype(np.float64))


def logits(config, variables, x):
    model = nnx.eval_shape(lambda: config.build(nnx.Rngs(params=0)))
    model.eval()
    graph = nnx.graphdef(model)
    return jax.jit(lambda variables, x: nnx.merge(graph, variables)(x))(variables, jnp.asarray(x))


@pytest.mark.parametrize("config", [BASIC, DEEP, PLAIN, NORMED], ids=["basic", "deep", "plain", "normed"])
def test_outputs_of_a_file_against_numpy(config, tmp_path):
    state, x, exact = invented(config)
    safetensors.numpy.save_file(state, tmp_path / "weights.safetensors")
    variables = load_torchvision(config, tmp_path / "weights.safetensors")
    # Logits of order 1 after at most eight float32 layers.
    np.testing.assert_allclose(logits(config, variables, x), exact, atol=1e-5)


def test_foreign_weights_go_into_a_probe_and_a_sweep():
    state, x, exact = invented(BASIC)
    variables = load_torchvision(BASIC, state)
    probe = pwact.probe(build(BASIC, 0), x)
    outputs, captures = probe.run(variables, x, sites=["blocks.0.relu@2"])
    np.testing.assert_allclose(outputs, exact, atol=1e-5)
    data = pwact.data.arrays(x, np.array([0, 1, 2]), name="three")
    results = pwact.sweep(
        probe, variables, data, {"extrema": pwact.stats.extrema()}, sites=["blocks.0.relu@2"]
    )
    np.testing.assert_allclose(
        results["blocks.0.relu@2"]["extrema.max"], captures["blocks.0.relu@2"].max(0), atol=1e-6
    )


def test_half_precision_is_read():
    state, x, exact = invented(BASIC)
    half = {name: value.astype(np.float16) if value.ndim else value for name, value in state.items()}
    variables = load_torchvision(BASIC, half)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    # float16 has 11 bits: weights are off by 5e-4 of themselves.
    np.testing.assert_allclose(logits(BASIC, variables, x), exact, atol=2e-2)


def changed(**changes):
    state = dict(invented(BASIC)[0])
    for name, value in changes.items():
        name = name.replace("__", ".")
        state.pop(name) if value is None else state.update({name: value})
    return state


def test_every_fault_is_listed_at_once():
    nan = np.full(3, np.nan, np.float32)
    state = changed(fc__bias=None, bn1__bias=nan, fc__weight=np.zeros((9, 5)), more=np.zeros(2))
    with pytest.raises(PwactError) as error:
        load_torchvision(BASIC, state)
    assert "the 42 tensors of this ResNet" in str(error.value)
    assert (
        "missing: fc.bias; unexpected: more; of another shape: fc.weight (9, 5), not (4, 5); "
        "not finite numbers: bn1.bias" in str(error.value)
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (resnet((32, 32, 3), 4), "missing: bn1.bias.* and .* more; unexpected: classifier.0"),
        (VGG((9, 12, 1), 4, PLAIN.stages, hidden=6), r"features.0.weight \(3, 3, 3, 3\), not \(3, 1, 3, 3\)"),
        (VGG((9, 12, 3), 4, PLAIN.stages, hidden=6, norm="batch"), "missing: features.1.bias"),
        (resnet((32, 32, 3), 4, norm="group"), "norm='batch' or 'none' .*found norm='group'"),
        (HMAX((28, 28, 1), 4), "a ResNet or a VGG; found HMAX"),
    ],
)
def test_weights_of_another_network(config, message):
    with pytest.raises(PwactError, match=message):
        load_torchvision(config, invented(PLAIN)[0])


def test_integers_are_no_weights():
    with pytest.raises(PwactError, match=r"not finite numbers: fc\.bias"):
        load_torchvision(BASIC, changed(fc__bias=np.zeros(4, np.int32)))


def test_files_that_cannot_be_read(tmp_path):
    whole = tmp_path / "whole.safetensors"
    safetensors.numpy.save_file(invented(BASIC)[0], whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-9])
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("cut", "text", "none"):
        with pytest.raises(PwactError, match=f"a readable .safetensors file; found .*{name}.safetensors"):
            load_torchvision(BASIC, tmp_path / f"{name}.safetensors")


CASES = [
    ("resnet18", resnet((64, 67, 3), 7, depth=18)),
    ("resnet34", resnet((64, 67, 3), 7, depth=34)),
    ("resnet50", resnet((64, 67, 3), 7, depth=50)),
    ("vgg11", vgg((64, 75, 3), 7, depth=11)),
    ("vgg16_bn", vgg((64, 75, 3), 7, depth=16, norm="batch")),
]


@pytest.mark.parametrize(("name", "config"), CASES, ids=[name for name, _ in CASES])
def test_outputs_against_torchvision(name, config):
    torch = pytest.importorskip("torch", reason="torchvision is the reference here")
    models = pytest.importorskip("torchvision", reason="torchvision is the reference here").models
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=7).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
        x = np.random.default_rng(0).normal(size=(2, *config.image_shape)).astype(np.float32)
        theirs = model(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    ours = logits(config, load_torchvision(config, model.state_dict()), x)
    # float32 through up to fifty layers; the logits of these random networks reach 1e-1 to 3e1.
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
