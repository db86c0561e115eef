"""Does a sweep's memory stay flat over a dataset that is larger than memory, with many classes?

    python benchmarks/scale.py [--images 1000000] [--classes 1000]    results/scale-<backend>.json; 5 minutes

The images, 16x16x3 bytes, are made when they are read, each from its own index, and nowhere kept. A small
convolutional network looks at them; moments and firing rate of every point of its ReLU map, for each class,
and the images that excite each channel most. Resident memory is noted every half second. Flat means: from a
tenth of the images on to the last one it grows by no more than what is kept on purpose, four bytes an image
to know that each was seen once, and 16 MiB for whatever allocators do. Counts are compared with the labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

import pwact
from pwact.core import provenance
from pwact.stats import by_class, firing, moments, top_k
from pwact.types import Batch

SHAPE, CHANNELS = (16, 16, 3), 8
ALLOCATORS = 16 * 2**20
EVERY = 0.5


class Generated:
    """Images that are made from their index alone: bytes of a counter, well mixed."""

    image_shape = SHAPE

    def __init__(self, images: int, classes: int):
        self.num_classes, self.name = classes, f"generated-{images}"
        index = np.arange(images)
        self.labels = (mixed(index.astype(np.uint64)) % np.uint64(classes)).astype(np.int32)
        self.index_hash = provenance.index_hash(index)
        self.fingerprint = hashlib.sha256(f"{images} {classes} {SHAPE}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Any) -> Batch:
        at = np.asarray(indices)
        words = int(np.prod(SHAPE)) // 8
        counter = at[:, None].astype(np.uint64) * np.uint64(words) + np.arange(1, words + 1, dtype=np.uint64)
        image = mixed(counter).view(np.uint8).reshape(len(at), *SHAPE)
        return Batch(image, self.labels[at], at.astype(np.int32), np.ones(len(at), bool))


def mixed(words: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbours become unalike."""
    words = words * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))


def model(variables: dict, image: jax.Array) -> jax.Array:
    """A convolution of stride 2, a ReLU, a mean, a matrix: logits."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(image, variables["kernel"], (2, 2), "SAME", dimension_numbers=layout)
    return checkpoint_name(jax.nn.relu(x), "relu").mean((1, 2)) @ variables["head"]


def make_variables(classes: int) -> dict:
    kernel, head = jax.random.split(jax.random.key(0))
    return {
        "kernel": jax.random.normal(kernel, (3, 3, 3, CHANNELS)) / 5,
        "head": jax.random.normal(head, (CHANNELS, classes)),
    }


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(images: int, classes: int) -> dict[str, Any]:
    data, variables = Generated(images, classes), make_variables(classes)
    probe = pwact.probe(model, jnp.zeros((1, *SHAPE)), variables=variables)
    statistics = {
        "moments": by_class(moments(), classes),
        "firing": by_class(firing(), classes),
        "top": top_k(9),
    }
    noted: list[tuple[int, int]] = []
    said = time.monotonic()

    def note(done: int, total: int) -> None:
        nonlocal said
        if done == total or time.monotonic() - said > EVERY:
            noted.append((done, resident()))
            said = time.monotonic()

    tree = pwact.sweep(
        probe,
        variables,
        data,
        statistics,
        sites=["relu"],
        preprocess=lambda image: image.astype(jnp.float32) / 127.5 - 1.0,
        batch_size=2048,
        progress=note,
    )
    np.testing.assert_array_equal(
        tree["relu"]["moments.count"], np.bincount(data.labels, minlength=classes), strict=False
    )
    seconds, waiting = tree.attrs["seconds"], tree.attrs["seconds_waiting_for_images"]
    warm = [memory for done, memory in noted if done >= images / 10]
    return {
        "machine": provenance.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "images": images,
        "classes": classes,
        "result_mib": round(sum(array.nbytes for array in tree["relu"].data_vars.values()) / 2**20, 1),
        "dataset_mib": round(images * int(np.prod(SHAPE)) / 2**20, 1),
        "seconds": seconds,
        "seconds_waiting_for_images": waiting,
        "images_per_second": round(images / seconds),
        "resident_mib": [[done, round(memory / 2**20, 1)] for done, memory in noted],
        "growth_mib": round((max(warm) - warm[0]) / 2**20, 1),
        "allowed_mib": round((4 * images + ALLOCATORS) / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    found = measure(arguments.images, arguments.classes)
    folder = pathlib.Path(__file__).parent / "results"
    out = arguments.out or folder / f"scale-{jax.default_backend()}.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    waiting = found["seconds_waiting_for_images"] / found["seconds"]
    print(
        f"{found['images']:,} images, {found['classes']:,} classes: {found['images_per_second']:,} a second, "
        f"{waiting:.0%} of the time waiting for images; memory grew by {found['growth_mib']} MiB "
        f"(allowed {found['allowed_mib']}), the images being {found['dataset_mib']} MiB"
    )
    if found["growth_mib"] > found["allowed_mib"]:
        raise SystemExit("not flat")


if __name__ == "__main__":
    main()
