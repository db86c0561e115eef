"""A network as a pure function of its variables, with interventions in place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from pwact.core.probe import probe
from pwact.errors import PwactError
from pwact.models.architecture import Architecture
from pwact.train.recipe import Precision
from pwact.train.treatment import Intervention, stream


def forward(
    config: Architecture,
    interventions: tuple[Intervention, ...],
    form: Literal["lax", "slices"],
    train: bool,
    precision: Precision,
) -> Callable[..., Any]:
    """(variables, preprocessed images, key) -> (float32 logits, variables with new running statistics).

    Args:
        config: the network.
        interventions: edits; without `train` only those that also act in evaluation.
        form: the program of its convolutions.
        train: whether norms use the batch and update their running statistics.
        precision: what parameters and images are rounded to on their way in.

    Raises:
        PwactError: two interventions at one site, or a site that is not there.
    """
    model = nnx.eval_shape(lambda: config.build(nnx.Rngs(params=0), form=form))
    model.train() if train else model.eval()
    active = [each for each in interventions if train or each.evaluation]
    sites = [each.site for each in active]
    if len(set(sites)) < len(sites):
        twice = next(site for site in sites if sites.count(site) > 1)
        raise PwactError("one intervention a site", f"two at {twice!r}", "make one function of both")
    computed = jnp.dtype(precision)

    def rounded(tree: Any) -> Any:
        if precision == "float32":
            return tree
        params, rest = nnx.split_state(tree, nnx.Param, ...)
        return nnx.merge_state(jax.tree.map(lambda leaf: _cast(leaf, computed), params), rest)

    def restored(variables: Any, like: Any) -> Any:
        """The variables in their own types; parameters are those that came in."""
        params = nnx.split_state(like, nnx.Param, ...)[0]
        rest = nnx.split_state(variables, nnx.Param, ...)[1]
        same = nnx.split_state(like, nnx.Param, ...)[1]
        return nnx.merge_state(params, jax.tree.map(lambda new, old: new.astype(old.dtype), rest, same))

    if not active:
        graph = nnx.graphdef(model)

        def plain(variables: Any, image: jax.Array, key: Any) -> Any:
            network = nnx.merge(graph, rounded(variables), copy=True)
            outputs = network(image.astype(computed))
            return outputs.astype(jnp.float32), restored(nnx.state(network), variables)

        return plain

    if precision != "float32":
        graph, state = nnx.split(model)
        model = nnx.merge(graph, jax.eval_shape(rounded, state))
        model.train() if train else model.eval()
    image = jax.ShapeDtypeStruct((1, *config.image_shape), computed)
    probed = probe(model, image, mode="training" if train else "evaluation")

    def edited(variables: Any, image: jax.Array, key: Any) -> Any:
        edits = {
            each.site: functools.partial(each.fn, jax.random.fold_in(stream(key, "edits"), place))
            for place, each in enumerate(active)
        }
        outputs, _ = probed.run(rounded(variables), image.astype(computed), edits=edits)
        if not train:
            return outputs.astype(jnp.float32), variables
        outputs, changed = outputs
        return outputs.astype(jnp.float32), restored(changed, variables)

    return edited


def _cast(leaf: Any, dtype: Any) -> Any:
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
