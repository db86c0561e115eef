"""From "something is not finite" to which site, image and channel."""

from __future__ import annotations

import operator
from typing import Any

import jax
import numpy as np

from pwact.core.accumulator import Result
from pwact.core.sweep.loads import in_micro_batches
from pwact.core.sweep.program import places, values
from pwact.core.sweep.task import Task
from pwact.errors import NonFiniteError
from pwact.types import Batch


def blame(
    task: Task, used: frozenset[str], variables: Any, micro_batch: int, load: Batch, faults: Any
) -> None:
    """Raise for the first image of a load whose pixels, activations or logits are not finite.

    The program only says in which micro-batches something was wrong; these are computed again, and
    looked at on the host.

    Args:
        task: what was computed.
        used: which optional parts of an observation were.
        variables: with what.
        micro_batch: images in one.
        load: the images.
        faults: of each micro-batch, whether each place held something that is not finite.

    Raises:
        NonFiniteError: names the place, the least dataset index, and the channel.
    """
    faults = np.asarray(faults)
    wrong = np.flatnonzero(faults.any(axis=1))
    if not len(wrong):
        return
    look = jax.jit(lambda variables, image, label: task.look(variables, image, label, "gradient" in used))
    batches = in_micro_batches(load, micro_batch, len(faults))
    found = []
    for number in wrong:
        padded = jax.tree.map(operator.itemgetter(number), batches)
        seen = values(task, used, look(variables, padded.image, padded.label))
        for order, (place, value) in enumerate(zip(places(task, used), seen, strict=True)):
            bad = ~np.isfinite(np.asarray(value)) & padded.valid.reshape(-1, *(1,) * (value.ndim - 1))
            rows = np.flatnonzero(bad.reshape(micro_batch, -1).any(axis=1))
            if len(rows):
                row = rows[np.argmin(padded.index[rows])]
                point = tuple(int(axis[0]) for axis in np.nonzero(bad[row]))
                found.append((int(padded.index[row]), order, place, point, float(value[row][point])))
    if not found:
        raise NonFiniteError(
            "finite activations",
            "some that were not, but were when the same images were computed again",
            "sweep with another micro_batch; if it stays, the model is not deterministic",
        )
    index, _, place, point, what = min(found)
    raise NonFiniteError(
        f"finite values in {place if place.startswith('the ') else repr(place)}",
        f"{what} for the image of dataset index {index}, channel {point[-1]}, at {list(point)} of {place}",
        "look at this image and at the variables before this place",
    )


def refuse_overflow(results: dict[str, Result]) -> None:
    """Raise for a statistic that is infinite although every activation was finite.

    Raises:
        NonFiniteError: names the site, the statistic and the place in it.
    """
    for site, result in results.items():
        for name, value in result.items():
            infinite = np.argwhere(np.isinf(np.asarray(value.values)))
            if len(infinite):
                raise NonFiniteError(
                    f"'{name}' of '{site}' within the range of its dtype",
                    f"infinity at {dict(zip(value.dims, infinite[0].tolist(), strict=True))}",
                    "the activations are too large for it: rescale them with on(fn, ...); or what a function "
                    "given to on() returned is not finite",
                )
