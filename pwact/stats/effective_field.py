"""How much each pixel moves the middle of a map: the effective receptive field."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from pwact.core.accumulator import Named, Result
from pwact.core.combinators import on
from pwact.core.probe import probe as probe_function
from pwact.core.results import to_tree
from pwact.core.sweep import sweep
from pwact.core.sweep.request import known_sites
from pwact.errors import PwactError
from pwact.stats.gradients import of_gradient
from pwact.stats.moments import moments

SHARE = 0.9545
"""Of a normal distribution, what lies within two standard deviations."""


def effective_receptive_field(
    probe: Any,
    variables: Any,
    dataset: Any,
    *,
    sites: Sequence[str],
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    batch_size: int = 256,
) -> xr.DataTree:
    """How much each pixel moves the middle of a site's map, on average over a dataset.

    power[p] = mean over images of  sum over colours k of  (d y / d image[p, k])^2
    y = sum over channels c of activation[rows // 2, columns // 2, c]

    The receptive field of the program says which pixels a point can depend on; this says on which it does.
    For each site the network is read once, up to the site, and differentiated once, by `pwact.sweep`. The
    mean is one of `moments`, with its error; what is derived from it is computed in float64. Squared
    gradients below float32's smallest normal number, 1.2e-38, are 0 on CPU.

    Args:
        probe: the model (`pwact.probe`) of one image array [batch, row, column, channel].
        variables: what `probe.run` takes.
        dataset: images by index.
        sites: maps [row, column, channel], or vectors [channel], of which all positions are the middle.
        preprocess: as for `pwact.sweep`; gradients are those of the image that the model sees.
        batch_size: images read at once.

    Returns:
        A tree with a node a site, provenance in the root's attributes:

        - `power` [row, column], at the image's resolution; ((unit of the activation) / (unit of a pixel))^2;
        - `center`, `sigma` [axis]: mean and standard deviation of the row and of the column of a pixel drawn
          with a probability proportional to its power, in pixels;
        - `pixels`: the fewest pixels that hold 95.45 % of the power together (a normal distribution's share
          within two standard deviations), and `size`, the side of a square of as many;
        - `theoretical_size` [axis]: of the receptive field; NaN where it has none.

        Where no image gives a gradient, as for a dead point, `pixels` and `size` are 0, `center` and
        `sigma` NaN.

    Raises:
        PwactError: an unknown or repeated site, one that is neither map nor vector, or no site; a model that
            does not take one image array; what a sweep raises.

    Example:
        >>> import jax, numpy as np, pwact
        >>> from pwact.stats.effective_field import effective_receptive_field
        >>> def model(image):
        ...     dims, kernel = ("NHWC", "HWIO", "NHWC"), np.ones((3, 3, 1, 1), np.float32)
        ...     return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=dims)
        >>> data = pwact.data.arrays(np.ones((2, 7, 7, 1), np.float32), [0, 1], name="ones")
        >>> probe = pwact.probe(model, data.read([0]).image)
        >>> field = effective_receptive_field(probe, None, data, sites=["output"])["output"]
        >>> int(field["pixels"]), float(field["size"]), field["center"].values.tolist()
        (9, 3.0, [3.0, 3.0])

    Reference: Luo, Li, Urtasun and Zemel, "Understanding the effective receptive field in deep convolutional
        neural networks" (NeurIPS 2016), who draw the gradient itself and count the pixels above 4.55 % of
        the middle one; the square is what adds up over random weights. Reconstructed from the paper.
    """
    image = probe.sites["input"]
    if len(image.shape) != 3:
        raise PwactError(
            "a model of images [row, column, channel]", str(list(image.shape)), "take gradients with sweep"
        )
    statistics = {"power": of_gradient(on(_power, moments()))}
    results: dict[str, Result] = {}
    attrs: dict[str, Any] = {}
    seconds = 0.0
    for name in known_sites(probe, sites):
        model = _middle(probe, name)
        if variables is None:  # a function of the image alone
            model = functools.partial(model, None)
        below = probe_function(
            model, jax.ShapeDtypeStruct((2, *image.shape), image.dtype), variables=variables
        )
        tree = sweep(
            below,
            variables,
            dataset,
            statistics,
            sites=["input"],
            preprocess=preprocess,
            gradient_of=_number,
            batch_size=batch_size,
        )
        power = tree["input"].to_dataset()["power.mean"].values[..., 0]
        results[name] = _described(power, probe.sites[name].receptive_field)
        seconds += tree.attrs["seconds"]
        attrs = {str(key): value for key, value in tree.attrs.items()}
    attrs |= {"sites": json.dumps(list(results)), "statistics": json.dumps(["effective_receptive_field"])}
    return to_tree(results, {**attrs, "seconds": round(seconds, 3)})


def _middle(probe: Any, name: str) -> Callable[[Any, Any], jax.Array]:
    """(variables, image) -> the sum over channels of the middle of a site, [batch, 1]."""
    site = probe.sites[name]
    if not (site.is_map or (site.batch_axis == 0 and len(site.shape) == 1)):
        raise PwactError(
            "a map [row, column, channel] or a vector [channel]",
            f"{name!r} with {list(site.shape)} an image",
            "choose a site that `pwact sites` shows as one",
        )

    def model(variables: Any, image: Any) -> jax.Array:
        activation = probe.capture(variables, image, [name])[name]
        if activation.ndim == 4:
            activation = activation[:, activation.shape[1] // 2, activation.shape[2] // 2]
        return activation.sum(-1, keepdims=True)

    return model


def _number(logits: jax.Array, label: jax.Array, prediction: jax.Array) -> jax.Array:
    return logits[:, 0]


def _power(gradient: Float[Array, "batch row column colour"]) -> Float[Array, "batch row column 1"]:
    return (gradient * gradient).sum(-1, keepdims=True)


def _described(power: np.ndarray, theoretical: Any) -> Result:
    exact = power.astype(np.float64)
    total = exact.sum()
    weights = exact / total if total > 0 else np.full_like(exact, np.nan)
    places = [np.arange(size, dtype=np.float64) for size in power.shape]
    along = [weights.sum(1), weights.sum(0)]
    center = np.array([(at * weight).sum() for at, weight in zip(places, along, strict=True)])
    spread = [
        ((at - middle) ** 2 * weight).sum() for at, middle, weight in zip(places, center, along, strict=True)
    ]
    held = np.cumsum(np.sort(exact, axis=None)[::-1])
    pixels = int(np.searchsorted(held, SHARE * total)) + 1 if total > 0 else 0
    size = (np.nan, np.nan) if theoretical is None else theoretical.size
    return {
        "power": Named(power, ("row", "column")),
        "center": Named(center, ("axis",), "pixel"),
        "sigma": Named(np.sqrt(spread), ("axis",), "pixel"),
        "pixels": Named(np.asarray(pixels), (), "pixel"),
        "size": Named(np.sqrt(pixels), (), "pixel"),
        "theoretical_size": Named(np.array(size, np.float64), ("axis",), "pixel"),
    }
