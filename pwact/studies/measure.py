"""Running P1's and P4's programs on every network of a kind. Networks of one shape share one program."""

from __future__ import annotations

import functools
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from pwact.core import backend
from pwact.core.probe import Probe, probe
from pwact.data.dataset import Dataset
from pwact.data.preprocess import Preprocess
from pwact.models.cnn import build
from pwact.models.config import ModelConfig
from pwact.studies import arrangement, concentration
from pwact.studies.arrangement import Shuffled
from pwact.studies.concentration import Concentration


class Sample(NamedTuple):
    """The images that networks are measured on.

    Args:
        images: as the networks see them.
        labels: one an image, or one a seed and image.
        place: of each image in the whole dataset.
    """

    images: Float[np.ndarray, "image row column channel"]
    labels: Int[np.ndarray, "*seed image"]
    place: Int[np.ndarray, " image"]


def sample(
    dataset: Dataset, preprocess: Preprocess, count: int, *, seed: int, labels: np.ndarray | None = None
) -> Sample:
    """A random part of a dataset, the same for all networks.

    Args:
        dataset: where from.
        preprocess: from stored pixels to what the networks see.
        count: images wanted; all of the dataset where it has fewer.
        seed: of the choice.
        labels: [seed, image] instead of the dataset's own.

    Returns:
        The images, in the dataset's order.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count])
    batch = dataset.read(chosen)
    images = np.asarray(preprocess(jnp.asarray(batch.image)))
    own = np.asarray(batch.label) if labels is None else labels[:, chosen]
    return Sample(images, own, np.asarray(batch.index))


@functools.cache
def model_probe(config: ModelConfig) -> Probe:
    """The probe of a configuration; its programs take any network of it."""
    model = nnx.eval_shape(lambda: build(config, 0))
    return probe(model, jax.ShapeDtypeStruct((2, *config.image_shape), jnp.float32))


def moved(
    config: ModelConfig,
    variables: Any,
    images: Float[np.ndarray, "image row column channel"],
    *,
    site: str,
    modes: tuple[str, ...],
    permutations: int,
    key: Any,
) -> Shuffled:
    """P1's decisions of many networks at one site.

    Args:
        config: what the networks are.
        variables: theirs, with a leading seed axis.
        images: as the networks see them.
        site: where points change places.
        modes: out of `arrangement.MODES`.
        permutations: of each image.
        key: of the permutations.

    Returns:
        The decisions.
    """
    return arrangement.measure(
        _moving(config, site, modes),
        variables,
        images,
        map_shape=model_probe(config).sites[site].shape,
        modes=modes,
        permutations=permutations,
        key=key,
    )


@functools.cache
def _moving(config: ModelConfig, site: str, modes: tuple[str, ...]) -> Any:
    program = arrangement.decisions(model_probe(config).cut(site), modes=modes)
    return jax.jit(program, compiler_options=backend.compiler_options())


def concentrated(
    config: ModelConfig,
    variables: Any,
    images: Float[np.ndarray, "image row column channel"],
    *,
    site: str,
    budget: float,
    margin_error: float,
    key: Any,
    network: str,
) -> Concentration:
    """P4's contributions of many networks at their last map.

    Args:
        config: what the networks are; their head is `gap`.
        variables: theirs, with a leading seed axis.
        images: as the networks see them.
        site: the last map.
        budget: share of points kept in the causal check, at least one point.
        margin_error: as in `concentration.checked`.
        key: of the random orders and fills.
        network: what to call them in an error.

    Returns:
        The contributions, checked to add up to the margins.
    """
    rows, columns, _ = config.map_shapes[-1]
    keep = max(1, round(budget * rows * columns))
    found = _concentrating(config, site, keep)(variables, images, key)
    return concentration.checked(found, network, margin_error=margin_error)


@functools.cache
def _concentrating(config: ModelConfig, site: str, keep: int) -> Any:
    program = concentration.measure(model_probe(config).cut(site), keep=keep)
    return jax.jit(program, compiler_options=backend.compiler_options())


def key_for(seed: int, purpose: str) -> Any:
    """An independent key for one purpose."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
