"""Images for the steps: all of them on the device, or each step's read from where they are stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pwact.core import backend
from pwact.core.free_memory import free_bytes
from pwact.data.dataset import Dataset
from pwact.errors import PwactError

SHARE = 0.25
"""Of the free memory, that images which stay on the device may take."""

SMALL_PIXELS = 64 * 64
"""Images below are decoded so quickly that threads stand in each other's way (benchmarks/loader.py)."""

AHEAD_BYTES = 256 << 20
"""Images that are read before they are needed, at most."""


def is_resident(dataset: Dataset) -> bool:
    """Whether all images, as they are stored, fit on the device beside everything else."""
    item = np.asarray(dataset.read(np.arange(1)).image).nbytes
    return item * len(dataset) <= SHARE * free_bytes()


def resident(dataset: Dataset, sharding: Any) -> jax.Array:
    """All images on the device, as they are stored."""
    image = np.asarray(dataset.read(np.arange(len(dataset))).image)
    return jnp.asarray(image) if sharding is None else jax.device_put(image, sharding)


def streamed(
    dataset: Dataset, places: np.ndarray, sharding: Any, workers: int | None = None
) -> Callable[[int, int], Iterator[jax.Array]]:
    """A function of (begin, end) that gives the images of these steps one after the other.

    Threads read ahead; what comes is the same, and in the same order, whatever their number.

    Args:
        dataset: the training images.
        places: [network, step, image of the step].
        sharding: how [network, image] is split over devices; None with one.
        workers: threads; if not given one for small images, and as many as cores for others.

    Raises:
        PwactError: in the step whose images cannot be read.
    """
    import grain

    networks, _, size = places.shape
    step_bytes = networks * size * math.prod(dataset.image_shape) * 4
    ahead = max(1, min(16, AHEAD_BYTES // max(step_bytes, 1)))
    small = math.prod(dataset.image_shape[:2]) < SMALL_PIXELS
    threads = min(workers or (1 if small else backend.cores()), ahead)

    class Steps:
        def __len__(self) -> int:
            return places.shape[1]

        def __getitem__(self, step: Any) -> np.ndarray:
            at = places[:, int(step)]
            batch = dataset.read(at.reshape(-1))
            if not np.array_equal(np.asarray(batch.valid), np.ones(at.size, bool)):
                raise PwactError("every image that was asked for", "some missing", "look at the dataset")
            image = np.asarray(batch.image)
            return image.reshape(networks, size, *image.shape[1:])

    def steps(begin: int, end: int) -> Iterator[jax.Array]:
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        source = grain.MapDataset.source(Steps())[begin:end]
        for image in source.to_iter_dataset(options):
            yield jnp.asarray(image) if sharding is None else jax.device_put(image, sharding)

    return steps
