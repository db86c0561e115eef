"""Going on with what a folder holds, if it is the training that was asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from pwact.core.provenance import MADE_BY, machine
from pwact.errors import PwactError
from pwact.models.architecture import to_dict
from pwact.train import program
from pwact.train.checkpoint import Saved, difference, read, saved_steps
from pwact.train.company import Company
from pwact.train.recipe import Recipe
from pwact.train.trained import Trained


def found_in(folder: Path, wanted: Trained, total: int, devices: int) -> Saved:
    """What is in `folder`; refused if it is of another training."""
    saved = read(
        folder, wanted.config, None if _plain(wanted.recipe) else wanted.recipe, wanted.interventions
    )

    def words(networks: Trained) -> dict[str, Any]:
        return {
            "config": to_dict(networks.config),
            "recipe": networks.recipe.to_dict(),
            "treatment": networks.treatment,
            "interventions": [each.name for each in networks.interventions],
            "seeds": networks.seeds,
            "streams": [dict(member.streams) for member in networks.members],
            "numbers": [dict(member.numbers) for member in networks.members],
            "preprocess": dataclasses.asdict(networks.preprocess),
            "data": networks.data,
        }

    saved_words, asked_words = words(saved.networks), words(wanted)
    for name, asked in asked_words.items():
        known = saved_words[name]
        if known != asked:
            nested = isinstance(asked, dict)
            differs = difference(asked, known) if nested else difference({name: asked}, {name: known})
            raise PwactError(
                f"a training with the {name} that was asked for",
                f"{differs} in {str(folder)!r}",
                "resume with what it was started with, or pick another folder",
            )
    splits, known = (each.curves.split.values.tolist() for each in (wanted, saved.networks))
    if splits != known:
        raise PwactError(
            f"curves of {splits}",
            f"{known} in {str(folder)!r}",
            "resume with the test set it was started with, or without one where there was none",
        )
    here = machine()
    for name in MADE_BY if saved.step < saved.steps else ():
        if saved.made.get(name) != here[name]:
            raise PwactError(
                f"the {name} that the training was begun with: {saved.made.get(name)}",
                f"{here[name]}",
                "finish it with those, or pick another folder: it would not be the same networks",
            )
    if saved.devices != devices:
        raise PwactError(
            f"a training on {devices} devices", f"{saved.devices} in {str(folder)!r}", "resume on as many"
        )
    return saved


def _plain(recipe: Recipe) -> bool:
    """Whether text makes the recipe again."""
    try:
        return Recipe.from_dict(recipe.to_dict()) == recipe
    except PwactError:
        return False


def carries_of(saved: Saved, company: Company) -> list[program.Carry]:
    """By group, what an unfinished training goes on from."""
    shape = [
        jax.eval_shape(program.first(company.task), keys, numbers)
        for keys, numbers in zip(company.initial, company.numbers, strict=True)
    ]
    structure = jax.tree.structure(shape[0])
    return company.split(jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in saved.carry]))


def what_is_saved(folder: Path | None) -> str:
    if folder is None:
        return "nothing is saved, as no folder was given"
    done, steps = saved_steps(folder)
    if done == 0:
        return "no epoch was finished, so nothing is saved"
    return f"{done} of {steps} steps are saved in {str(folder)!r}, and resume=True goes on from there"
