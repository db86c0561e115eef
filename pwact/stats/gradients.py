"""Statistics of gradients: what others say of activations, said of slopes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pwact.core import arguments
from pwact.core.accumulator import Accumulator, State
from pwact.core.caching import memoized
from pwact.core.combinators import on
from pwact.errors import PwactError
from pwact.types import Observation


@memoized
def of_gradient(acc: Accumulator) -> Accumulator:
    """The statistic of the gradient at every point, in place of the activation.

    result = acc of {g_i},   g_i = d number_i / d x_i

    `pwact.sweep(..., gradient_of=...)` says which number of an image's logits: its gradient is taken at
    every site, by one backward pass for all sites and statistics. Slopes below float32's smallest normal
    number, 1.2e-38, are 0 on CPU.

    Args:
        acc: the statistic, of one site or of pairs.

    Returns:
        The accumulator with the results of `acc`; a unit is one of the number per one of the activation.

    Raises:
        PwactError: `acc` is no accumulator; (by `update`) the observation holds no gradient.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import moments, of_gradient
        >>> from pwact.types import Observation
        >>> acc, zero = of_gradient(moments()), jnp.zeros(2, jnp.int32)
        >>> x, gradient = jnp.array([[3.0], [4.0]]), jnp.array([[-1.0], [2.0]])
        >>> seen = Observation(x, zero, zero, zero, jnp.ones(2, bool), gradient=gradient)
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> acc.finalize(state)["mean"].values.tolist()
        [0.5]

    Source: ours; gradients as Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks" (2013).
    """
    arguments.accumulator("of_gradient", acc)

    def update(state: State, seen: Observation) -> State:
        return acc.update(state, seen._replace(activation=_gradient(seen, "of_gradient"), gradient=None))

    return acc._replace(update=update)


@memoized
def gradient_times_activation(acc: Accumulator) -> Accumulator:
    """The statistic of gradient times activation at every point: a first-order guess at what it contributes.

    result = acc of {g_i x_i},   g_i = d number_i / d x_i

    Where the number is linear in the activation of a site, and has no constant, the products of an image
    add up to it. The gradient is that of `pwact.sweep(..., gradient_of=...)`.

    Args:
        acc: the statistic, of one site.

    Returns:
        An accumulator with the results of `acc`, in the number's own unit. Products are rounded to float32;
        where one is too large for it, every result that is a float is infinite, and a sweep raises.

    Raises:
        PwactError: `acc` is no accumulator, or one of pairs of sites; (by `update`) the observation holds no
            gradient.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import gradient_times_activation, moments
        >>> from pwact.types import Observation
        >>> acc, zero = gradient_times_activation(moments()), jnp.zeros(2, jnp.int32)
        >>> x, gradient = jnp.array([[3.0], [4.0]]), jnp.array([[-1.0], [2.0]])
        >>> seen = Observation(x, zero, zero, zero, jnp.ones(2, bool), gradient=gradient)
        >>> state = acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen)
        >>> acc.finalize(state)["mean"].values.tolist()
        [2.5]

    Reference: Shrikumar, Greenside, Shcherbina and Kundaje, "Not just a black box" (2016). Reconstructed
        from the formula.
    """
    arguments.accumulator("gradient_times_activation", acc)
    if acc.pairwise:
        raise PwactError(
            "a statistic of one site for gradient_times_activation",
            "one of pairs of sites",
            "write of_gradient(...), which takes both",
        )
    of_products = on(_product, acc)

    def init(spec: jax.ShapeDtypeStruct) -> State:
        return of_products.init(jax.ShapeDtypeStruct((*spec.shape, 2), spec.dtype))

    def update(state: State, seen: Observation) -> State:
        factors = jnp.stack((seen.activation, _gradient(seen, "gradient_times_activation")), -1)
        return of_products.update(state, seen._replace(activation=factors))

    return of_products._replace(init=init, update=update)


def _product(factors: Float[Array, "batch ... 2"]) -> Float[Array, "batch ..."]:
    return factors[..., 0] * factors[..., 1]


def _gradient(seen: Observation, who: str) -> Any:
    if seen.gradient is None:
        raise PwactError(
            f"a gradient in the observation for {who}",
            "none",
            "pass gradient_of= to the sweep; on() goes inside, as in of_gradient(on(fn, ...))",
        )
    return seen.gradient
