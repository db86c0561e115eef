"""Many images: one that is not finite is named; memory stays flat."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import pwact
from pwact.core.provenance import index_hash
from pwact.errors import NonFiniteError
from pwact.stats import moments
from pwact.types import Batch

IMAGES, BROKEN = 50_000, 37_412


class Generated:
    """Images 4x4x2 that are made when they are read; in one of them a pixel is not a number."""

    name, num_classes, image_shape = "generated", 10, (4, 4, 2)

    def __init__(self, broken=None):
        self.broken = broken
        self.labels = (np.arange(IMAGES) % 10).astype(np.int32)
        self.fingerprint, self.index_hash = (
            hashlib.sha256(b"generated").hexdigest(),
            index_hash(range(IMAGES)),
        )

    def __len__(self):
        return IMAGES

    def read(self, indices):
        at = np.asarray(indices)
        image = np.sin(at[:, None] + np.arange(32.0)).astype(np.float32).reshape(-1, 4, 4, 2)
        if self.broken is not None:
            image[at == self.broken, 3, 1, 0] = np.nan
        return Batch(image, self.labels[at], at.astype(np.int32), np.ones(len(at), bool))


def sweep(data, **kwargs):
    probe = pwact.probe(lambda image: image.mean((1, 2)), jnp.zeros((1, 4, 4, 2)))
    return pwact.sweep(probe, None, data, {"m": moments()}, sites=["input"], batch_size=512, **kwargs)


def test_a_nan_in_one_image_of_many_is_named(tmp_path):
    with pytest.raises(NonFiniteError, match=rf"nan .* dataset index {BROKEN}, channel 0, at \[3, 1, 0\]"):
        sweep(Generated(BROKEN), state=tmp_path / "s")
    mended = sweep(Generated(), state=tmp_path / "s")
    whole = sweep(Generated())
    np.testing.assert_array_equal(mended["input"]["m.mean"], whole["input"]["m.mean"])
    assert mended["input"]["m.count"] == IMAGES


@pytest.mark.slow
def test_memory_is_flat_over_many_images_and_classes(tmp_path):
    program = pathlib.Path(__file__).parents[3] / "benchmarks" / "scale.py"
    out = tmp_path / "scale.json"
    asked = ["--images", "200000", "--classes", "200", "--out", str(out)]
    subprocess.run([sys.executable, str(program), *asked], check=True, capture_output=True)
    found = json.loads(out.read_text())
    assert found["dataset_mib"] > 100 and found["growth_mib"] <= found["allowed_mib"]
