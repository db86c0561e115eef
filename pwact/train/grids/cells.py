"""The cells of a grid: one configuration each, checked before anything is trained."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from pwact.data.dataset import Dataset
from pwact.errors import PwactError
from pwact.models import build
from pwact.train.evaluate import check_fit
from pwact.train.forward import forward
from pwact.train.grids.draft import Draft, with_corruption, with_images
from pwact.train.grids.factors import Factor
from pwact.train.grids.settings import Setting, applied
from pwact.train.grids.values import shown
from pwact.train.order import check_batches
from pwact.train.treatment import Intervention

LONGEST = 100
"""Characters of a cell's name."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One level of every factor.

    Args:
        name: of its folder.
        places: which level of each factor.
        labels: those levels as tables show them, by factor.
        draft: what its networks are made of.
    """

    name: str
    places: tuple[int, ...]
    labels: dict[str, Any]
    draft: Draft


def cells_of(
    factors: Sequence[Factor],
    base: Draft,
    dataset: Dataset,
    mode: str,
    interventions: tuple[Intervention, ...] = (),
) -> tuple[Cell, ...]:
    """All cells, the last factor changing fastest; or the base and each other level on its own.

    Args:
        factors: what varies.
        base: what it is varied from.
        dataset: the training images.
        mode: of the grid.
        interventions: that are in place in training.

    Raises:
        PwactError: a combination that makes no network for this dataset, or one without the site of an
            intervention, and names the factors; two cells of one name.
    """
    counts = [len(factor.levels) for factor in factors]
    if mode == "grid":
        places = list(itertools.product(*map(range, counts)))
    else:
        zero = (0,) * len(factors)
        places = [zero] + [
            (*zero[:at], place, *zero[at + 1 :])
            for at, count in enumerate(counts)
            for place in range(1, count)
        ]
    cells = []
    checked: set[Any] = set()
    for place in places:
        chosen = {factor.setting: factor.levels[at] for factor, at in zip(factors, place, strict=True)}
        labels = {factor.name: factor.labels[at] for factor, at in zip(factors, place, strict=True)}
        draft = _draft(base, chosen, dataset, interventions, checked)
        cells.append(Cell(_name(labels), place, labels, draft))
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise PwactError(
                "cells of different names", f"two called {name}", "give levels names that differ"
            )
    return tuple(cells)


def _draft(
    base: Draft,
    chosen: dict[Setting, Any],
    dataset: Dataset,
    interventions: tuple[Intervention, ...],
    checked: set[Any],
) -> Draft:
    """The cell's draft; an error names the factors that it comes from, if not from the base."""

    def wrong(some: dict[Setting, Any]) -> PwactError | None:
        try:
            _made(base, some, dataset, interventions, checked)
        except PwactError as error:
            return error
        return None

    try:
        return _made(base, chosen, dataset, interventions, checked)
    except PwactError as error:
        found = error
    if str(wrong({})) == str(found):
        raise found
    culprits = [one for one, value in chosen.items() if str(wrong({one: value})) == str(found)] or list(
        chosen
    )
    values = ", ".join(f"{one.name}={shown(chosen[one])}" for one in culprits)
    raise PwactError(
        f"{'levels' if len(culprits) > 1 else f'a level of {culprits[0].name}'} that can be trained on "
        f"{dataset.name!r}: {found.expected}",
        f"{values}: {found.found}",
        found.do,
    ) from found


def _made(
    base: Draft,
    chosen: dict[Setting, Any],
    dataset: Dataset,
    interventions: tuple[Intervention, ...],
    checked: set[Any],
) -> Draft:
    draft = applied(base, chosen)
    if draft.config not in checked:
        check_fit(draft.config, dataset)
        _check_runs(draft.config, interventions)
        checked.add(draft.config)
    part = with_corruption(with_images(dataset, draft.images), draft.corruption)
    check_batches(draft.recipe, part)
    return draft


def _check_runs(config: Any, interventions: tuple[Intervention, ...]) -> None:
    """Refuse a network that cannot be built, or run on one image with its edits; nothing is computed."""

    def logits() -> Any:
        network = build(config, 0)
        network.eval()
        return network(jnp.zeros((1, *config.image_shape), jnp.float32))

    try:
        found = nnx.eval_shape(logits)
        if interventions:
            variables = nnx.state(nnx.eval_shape(lambda: build(config, 0)))
            image = jax.ShapeDtypeStruct((1, *config.image_shape), jnp.float32)
            for train in (True, False):
                run = forward(config, interventions, "lax", train, "float32")
                jax.eval_shape(run, variables, image, jax.random.key(0))
    except (TypeError, ValueError) as error:  # a network of one's own raises what it likes
        raise PwactError(
            f"a {type(config).__name__} that runs on an image",
            f"{type(error).__name__}: {error}",
            "correct it",
        ) from error
    if found.shape != (1, config.num_classes):
        raise PwactError(f"logits [1, {config.num_classes}] of one image", f"{found.shape}", "correct it")


def _name(labels: dict[str, Any]) -> str:
    """A name that any file system takes; what was lost of the labels is made up for by a hash."""
    exact = ",".join(f"{name}={label}" for name, label in labels.items())
    plain = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", exact).strip("-.")
    if plain == exact and len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
