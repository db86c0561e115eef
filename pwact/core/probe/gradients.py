"""The slope of a decision at every point of a site, by one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pwact.core.probe.convolutions import convolutions_in_order
from pwact.core.probe.emit import Emission
from pwact.core.probe.normal_form import captured_shape
from pwact.core.probe.trace import Program
from pwact.errors import PwactError

if TYPE_CHECKING:
    from pwact.core.probe.api import Probe


def gradients(
    probe: Probe, variables: Any, image: Any, of: Callable[[Any], jax.Array], sites: Sequence[str]
) -> tuple[Any, dict[str, jax.Array], dict[str, jax.Array]]:
    """What `Probe.gradients` returns: the program is differentiated in a zero that is added at each site."""
    program, args = probe.bound(variables, image)
    captures = probe.captures(program, sites)
    for name in captures:
        _check_differentiable(probe, name)
    tapped = tuple(dict.fromkeys(captures.values()))
    zeros = [jnp.zeros(captured_shape(program.jaxpr, var), var.aval.dtype) for var in tapped]

    def total(zeros: Sequence[jax.Array]) -> tuple[jax.Array, Any]:
        emission = Emission(tapped, taps=dict(zip(tapped, zeros, strict=True)))
        results, captured = emission.emit(program.jaxpr, args)
        outputs = program.unflatten(results)
        numbers = _checked_numbers(of(outputs), program)
        return numbers.sum(), (outputs, [captured[var] for var in tapped])

    try:
        value, pull, (outputs, captured) = jax.vjp(total, zeros, has_aux=True)
        (slopes,) = convolutions_in_order(pull)(jnp.ones_like(value))
    except ValueError as error:
        if "while_loop" not in str(error):
            raise
        raise PwactError(
            "sites with no while loop between them and the outputs",
            f"a while loop after one of {', '.join(map(repr, captures))}",
            "ask for sites after the loop, or loop with `jax.lax.scan`",
        ) from error
    activations, cotangents = (dict(zip(tapped, values, strict=True)) for values in (captured, slopes))
    return (
        outputs,
        {name: activations[var] for name, var in captures.items()},
        {name: cotangents[var] for name, var in captures.items()},
    )


def _check_differentiable(probe: Probe, name: str) -> None:
    site = probe.sites[name]
    if not site.editable:
        raise PwactError(
            "a site that can be edited, as a gradient needs it",
            f"{name!r}, {site.when}",
            "take the value that goes in, or the result",
        )
    if not jnp.issubdtype(site.dtype, jnp.floating):
        raise PwactError(
            "a site with floating-point numbers", f"{name!r} of {site.dtype.name}", "take another site"
        )


def _checked_numbers(numbers: Any, program: Program) -> jax.Array:
    """What `of` returned; anything but one floating-point number an image raises."""
    is_one = jax.tree_util.all_leaves([numbers])
    if is_one and jnp.shape(numbers) == (program.batch,) and jnp.issubdtype(numbers.dtype, jnp.floating):
        return numbers
    raise PwactError(
        f"`of` to return one floating-point number an image, [{program.batch}]",
        f"{jnp.result_type(numbers).name}{list(jnp.shape(numbers))}" if is_one else type(numbers).__name__,
        "choose one number of the outputs, as in lambda outputs: outputs[:, 3]",
    )
