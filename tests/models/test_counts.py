"""Parameters and multiplications, against published figures and against counts by hand."""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from pwact.errors import PwactError
from pwact.models import (
    VGG,
    WideResNet,
    cifar_resnet,
    from_text,
    mobilenet,
    multiplications,
    own,
    parameters,
    quick,
    resnet,
    small_receptive_field,
    summary,
    vgg,
)

IMAGENET = (224, 224, 3), 1000
CIFAR = (32, 32, 3), 10


# torchvision.models documents `num_params` and `_ops` (giga multiply-accumulates) of its weights.
TORCHVISION = [
    (resnet(*IMAGENET, depth=18), 11_689_512, 1.814),
    (resnet(*IMAGENET, depth=34), 21_797_672, 3.664),
    (resnet(*IMAGENET, depth=50), 25_557_032, 4.089),
    pytest.param(resnet(*IMAGENET, depth=101), 44_549_160, 7.801, marks=pytest.mark.slow),
    pytest.param(resnet(*IMAGENET, depth=152), 60_192_808, 11.514, marks=pytest.mark.slow),
    (vgg(*IMAGENET, depth=11), 132_863_336, 7.609),
    (vgg(*IMAGENET, depth=13), 133_047_848, 11.308),
    (vgg(*IMAGENET, depth=16), 138_357_544, 15.470),
    (vgg(*IMAGENET, depth=19), 143_667_240, 19.632),
    (vgg(*IMAGENET, depth=11, norm="batch"), 132_868_840, 7.609),
    (vgg(*IMAGENET, depth=16, norm="batch"), 138_365_992, 15.470),
]


@pytest.mark.parametrize(("architecture", "weights", "products"), TORCHVISION, ids=str)
def test_imagenet_networks_as_torchvision_counts_them(architecture, weights, products):
    assert parameters(architecture) == weights
    assert round(multiplications(architecture) / 1e9, 3) == products


@pytest.mark.parametrize(("depth", "products"), [(18, 1.8), (34, 3.6)])
def test_multiplications_of_the_residual_paper(depth, products):
    """He et al., CVPR 2016, table 1: 1.8 and 3.6 billion multiply-adds, cut to two digits there."""
    assert math.floor(multiplications(resnet(*IMAGENET, depth=depth)) / 1e8) / 10 == products


@pytest.mark.parametrize(
    ("depth", "millions"),
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), pytest.param(110, 1.7, marks=pytest.mark.slow)],
)
def test_parameters_of_the_residual_paper_for_small_images(depth, millions):
    """He et al., CVPR 2016, table 6."""
    count = parameters(cifar_resnet(*CIFAR, depth=depth)) / 1e6
    assert round(count, 1 if depth == 110 else 2) == millions


@pytest.mark.parametrize(
    ("depth", "widen", "millions"), [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (28, 10, 36.5), (22, 8, 17.2)]
)
def test_parameters_of_the_wide_residual_paper(depth, widen, millions):
    """Zagoruyko and Komodakis, BMVC 2016, table 3 and 4."""
    assert round(parameters(WideResNet(*CIFAR, depth=depth, widen=widen)) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("width", "millions", "products"), [(1.0, 4.2, 569), (0.75, 2.6, 325), (0.5, 1.3, 149), (0.25, 0.5, 41)]
)
def test_mobilenet_as_its_paper_counts_it(width, millions, products):
    """Howard et al., arXiv:1704.04861, table 6: parameters and multiply-adds in millions."""
    architecture = mobilenet(*IMAGENET, width=width)
    assert round(parameters(architecture) / 1e6, 1) == millions
    assert round(multiplications(architecture) / 1e6) == products


def test_plain_networks_by_hand():
    # 5x5x1x16 at 14x14, 3x3x16x32 and twice 3x3x32x32 at 7x7, 32x10.
    assert multiplications(quick((28, 28, 1), 10)) == 400 * 196 + 4608 * 49 + 2 * 9216 * 49 + 320
    # 9x9x1x32 at 7x7, three times 32x32 there, 32x10; BatchNorm has a scale and a bias a channel.
    small = small_receptive_field((28, 28, 1), 10)
    assert multiplications(small) == (81 * 32 + 3 * 32 * 32) * 49 + 320
    assert parameters(small) == 81 * 32 + 3 * 32 * 32 + 4 * 64 + 330


class Odd(nnx.Module):
    """Products in a scan, in a branch and in a nested jit."""

    def __init__(self, rngs):
        self.weights = nnx.Param(jnp.zeros((5, 3, 3)))
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        x = x.mean((1, 2))
        x, _ = jax.lax.scan(lambda x, w: (jax.nn.relu(x @ w), None), x, self.weights[...])
        once, twice = (lambda x: x @ self.weights[0]), (lambda x: x @ self.weights[0] @ self.weights[1])
        x = jax.lax.cond(x.sum() > 0, once, twice, x)
        return self.head(jax.jit(lambda x: x @ self.weights[2])(x))


def test_loops_are_counted_by_turns_and_branches_by_the_dearest():
    architecture = own(Odd, (4, 4, 3), 2, name="odd")
    assert parameters(architecture) == 45 + 8
    assert multiplications(architecture) == 5 * 9 + 2 * 9 + 9 + 6


class Endless(nnx.Module):
    """Products in a loop that ends when it ends."""

    def __init__(self, rngs):
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        go = lambda x: x.sum() < 9  # noqa: E731
        return self.head(jax.lax.while_loop(go, lambda x: x @ jnp.ones((3, 3)), x.mean((1, 2))))


def test_a_loop_of_unknown_length_cannot_be_counted():
    with pytest.raises(PwactError, match=r"known length; found some in a `while` loop"):
        multiplications(own(Endless, (4, 4, 3), 2, name="endless"))


def test_a_summary_has_a_line_a_block_and_the_totals():
    small = VGG((8, 8, 1), 2, stages=((4,), (8, 8)), hidden=6)
    lines = summary(small).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        *(f"blocks.{i}" for i in range(3)),
        "hidden.0",
        "hidden.1",
        "head",
        "total",
    ]
    assert lines[2].split()[:2] == ["blocks.1", "4x4x8"]
    total = lines[-1].split()
    assert total[1:] == [f"{parameters(small):,}", f"{multiplications(small):,}"]
    assert "23,994" in summary(quick((28, 28, 1), 10))


@pytest.mark.slow
def test_the_page_says_what_is_counted():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| `(.+)` \| ([\dx]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 15
    for text, image, *numbers in rows:
        classes, weights, products = (int(number.replace(",", "")) for number in numbers)
        rows_, columns, channels = map(int, image.split("x"))
        architecture = from_text(text, (rows_, columns, channels), classes)
        assert (parameters(architecture), multiplications(architecture)) == (weights, products), text
