"""Kernels redrawn around how deep each filter lay in the graph of a network that was trained briefly."""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pwact.core.arguments import finite_number, whole_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.initializers.hypercore import core_numbers
from pwact.initializers.initializer import Initializer
from pwact.initializers.kernels import paths


@memoized
def hcore(
    epochs: int = 1,
    layers: Literal["all", "dense"] = "all",
    scale: float = 1.0,
    shuffled: bool = False,
) -> Initializer:
    """Trains for some epochs, then redraws each filter around a mean that its core number gives.

    A kernel W[input, output] is a hypergraph: outputs are nodes, inputs hyperedges (rows, columns and
    channels of a convolution's kernel are its inputs). With c+ and c- the core numbers (see
    `pwact.initializers.hypercore`) of max(W, 0) and max(-W, 0),

        w_ij ~ N(scale * m_j, 2 / fan_in),   m_j = c+_j / sum c+ if c+_j >= c-_j else -c-_j / sum c-

    and the bias beside a redrawn kernel becomes 0. All else, norms too, stays as it was trained.

    Args:
        epochs: of training before that; 1 or more.
        layers: which kernels: `all`, or `dense`, those of two axes.
        scale: of the means; at 0 it is He's normal initialisation.
        shuffled: the control: the same means, dealt to the outputs of each kernel at random.

    Returns:
        An initialiser.

    Raises:
        PwactError: an argument out of range.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.initializers import hcore
        >>> params = {"kernel": jnp.eye(4), "bias": jnp.ones(4)}
        >>> hcore().draw(jax.random.key(0), params)["bias"].tolist()
        [0.0, 0.0, 0.0, 0.0]

    Reference: S. Limnios, G. Dasoulas, D. Thilikos, M. Vazirgiannis, Hcore-Init: neural network
        initialization based on graph degeneracy, arXiv 2004.07636. Status:
        reconstruction (cores as in the abstract; the graph of a convolution and the redraw are ours).
    """
    epochs = whole_number("epochs", epochs, "train for one epoch or more before the redraw")
    if layers not in ("all", "dense"):
        raise PwactError("layers as 'all' or 'dense'", repr(layers), "pick one of these")
    scale = finite_number("scale", scale, "give the scale of the means, or 0")
    if not isinstance(shuffled, bool):
        raise PwactError("shuffled as True or False", repr(shuffled), "correct shuffled")

    def draw(key: Any, params: Any) -> Any:
        leaves, structure = jax.tree.flatten(params)
        names = paths(params)
        chosen = [leaf.ndim > 1 and (layers == "all" or leaf.ndim == 2) for leaf in leaves]
        modules = {name.rpartition(".")[0] for name, one in zip(names, chosen, strict=True) if one}
        new = []
        for own, name, leaf, one in zip(
            jax.random.split(key, len(leaves)), names, leaves, chosen, strict=True
        ):
            module, _, last = name.rpartition(".")
            if one:
                leaf = _redraw(own, leaf, scale, shuffled)
            elif leaf.ndim == 1 and last == "bias" and module in modules:
                leaf = jnp.zeros_like(leaf)
            new.append(leaf)
        return jax.tree.unflatten(structure, new)

    return Initializer(draw, epochs)


def means(kernel: Float[Any, "*inputs output"]) -> Float[np.ndarray, " output"]:
    """m_j of each output: its share of all core numbers, of the sign in which it lies deeper."""
    weight = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    up, down = core_numbers(np.maximum(weight, 0)), core_numbers(np.maximum(-weight, 0))
    shares = [core / core.sum() if core.sum() else core for core in (up, down)]
    return np.where(up >= down, shares[0], -shares[1])


def _redraw(key: Any, kernel: jax.Array, scale: float, shuffled: bool) -> jax.Array:
    noise, order = jax.random.split(key)
    mean = means(kernel)
    if shuffled:
        mean = mean[np.asarray(jax.random.permutation(order, len(mean)))]
    deviation = math.sqrt(2 / math.prod(kernel.shape[:-1]))
    middle = jnp.asarray(scale * mean, kernel.dtype).reshape((1,) * (kernel.ndim - 1) + (-1,))
    return middle + deviation * jax.random.normal(noise, kernel.shape, kernel.dtype)
