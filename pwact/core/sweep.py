"""One pass of a dataset through a probe into accumulators. Only statistics leave the device."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import xarray as xr

from pwact.core import loads, planner, provenance
from pwact.core.accumulator import Accumulator, Result
from pwact.core.backend import compiler_options
from pwact.core.combinators import named
from pwact.core.faults import blame, refuse_overflow
from pwact.core.loads import Audit, in_micro_batches
from pwact.core.program import Program, Task, compiled
from pwact.core.request import accumulators, check_request, known_sites, positive
from pwact.core.results import to_tree
from pwact.errors import PwactError
from pwact.types import Batch


def sweep(
    probe: Any,
    variables: Any,
    dataset: Any,
    statistics: Mapping[str, Accumulator],
    *,
    sites: Sequence[str],
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    logits: Callable[[Any], jax.Array] | None = None,
    batch_size: int = 256,
    micro_batch: int | Literal["fastest"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Statistics of the activations at some sites over every image of a dataset, each image once.

    result[site][statistic.array] = finalize(update(...update(init, load_1)..., load_n))

    A load of `batch_size` images is one call of one compiled program, which computes on
    `micro_batch` images at a time so that their activations stay in cache. It is compiled once for a
    probe, sites, statistics and shapes: further sets of variables of the same shapes use it again.

    Args:
        probe: the model (`pwact.probe`).
        variables: what `probe.run` takes; all finite.
        dataset: images by index (`pwact.data`).
        statistics: accumulators by name, e.g. {"moments": pwact.stats.moments()}.
        sites: names out of `probe.sites`, each once.
        preprocess: stored image [batch, row, column, channel] -> what the model takes; on the device.
            None hands images on as they are stored.
        logits: model's outputs -> logits [batch, class], where the model returns more than these; the
            model's own decision is their argmax.
        batch_size: images read and sent at once; more than there are is fine.
        micro_batch: images computed on at once. None: from the size of activations and cache, the same
            on every call; "fastest": tried on the first images, which may differ from call to call and
            with it the last bits of sums. What was used is in the attributes.
        progress: called with (images done, images in all) after each load.

    Returns:
        A node a site (`pwact.core.node_name` of it) with variables `statistic.array`, named dimensions,
        and provenance in the root's attributes.

    Raises:
        PwactError: a question that cannot be answered as asked (each case says what to do).
        NonFiniteError: variables, pixels or activations that are NaN or infinite; names the first
            site, dataset index and channel.

    Example:
        >>> import jax, numpy as np, pwact
        >>> from pwact.stats import moments
        >>> def model(image):
        ...     with jax.named_scope("relu"):
        ...         activation = jax.nn.relu(image - 0.5)
        ...     return activation.mean((1, 2))
        >>> data = pwact.data.arrays(np.ones((5, 2, 2, 3), np.float32), [0, 1, 2, 0, 1], name="ones")
        >>> probe = pwact.probe(model, data.read([0]).image)
        >>> tree = pwact.sweep(probe, None, data, {"moments": moments()}, sites=["input"])
        >>> int(tree["input"]["moments.count"]), float(tree["input"]["moments.mean"][0, 0, 0])
        (5, 1.0)

    Source: ours.
    """
    task = Task(probe, known_sites(probe, sites), named(**accumulators(statistics)), preprocess, logits)
    images = len(dataset)
    if images == 0:
        raise PwactError("one image or more", f"none in dataset '{dataset.name}'", "give images")
    batch_size = min(positive("batch_size", batch_size), images)
    if micro_batch not in (None, "fastest"):
        micro_batch = positive("micro_batch", micro_batch)
    provenance.check_finite_variables(variables)
    on_device = jax.device_put(variables)
    run = _Run(task, on_device, dataset, batch_size, micro_batch, progress)
    try:
        with contextlib.closing(loads.prefetched(loads.loads(dataset, batch_size))) as images_read:
            for load in images_read:
                run.add(load)
        results, order = run.finish()
    finally:
        run.wait()
    return to_tree(
        results,
        {
            **provenance.machine(),
            "variables_sha256": provenance.variables_hash(variables),
            "dataset": dataset.name,
            "dataset_sha256": dataset.fingerprint,
            "index_sha256": dataset.index_hash,
            "order": f"by label within each {batch_size} images as they come",
            "order_sha256": order,
            "preprocess": _describe(preprocess),
            "sites": json.dumps(list(task.sites)),
            "statistics": json.dumps(list(statistics)),
            "images": images,
            "batch_size": batch_size,
            "micro_batch": run.size,
            "compiler_options": json.dumps(compiler_options()),
        },
    )


class _Run:
    """The moving parts of one sweep."""

    size: int  # of a micro-batch

    def __init__(
        self, task: Task, variables: Any, dataset: Any, batch_size: int, micro_batch: Any, progress: Any
    ):
        self._task, self._variables, self._dataset = task, variables, dataset
        self._batch_size, self._micro_batch, self._progress = batch_size, micro_batch, progress
        self._audit, self._done = Audit(), 0
        self._program: Program | None = None
        self._waiting: tuple[Batch, jax.Array] | None = None
        self._state: Any = None

    def add(self, load: Batch) -> None:
        if self._program is None:
            check_request(self._task, self._variables, self._dataset, load)
            self.size = planner.micro_batch(
                self._task, self._variables, load, self._batch_size, self._micro_batch
            )
            self._program = compiled(self._task, self.size, self._variables, load, self._batch_size)
            self._state = self._program.init()
        self._audit.add(load)
        batch = in_micro_batches(load, self.size, self._program.micro_batches)
        number = np.int32(-(-len(load.label) // self.size))
        self._state, faults = self._program.run(self._state, self._variables, batch, number)
        # One load behind: the device never waits for the host, nor does the host run far ahead of it.
        self._settle()
        self._waiting = (load, faults)

    def finish(self) -> tuple[dict[str, Result], str]:
        self._settle()
        assert self._program is not None
        order = self._audit.finish(len(self._dataset), int(np.asarray(self._state[1])))
        found = self._program.finalize(self._state)
        results = {site: found[site] for site in self._task.sites}
        refuse_overflow(results)
        return results, order

    def wait(self) -> None:
        """Until the device is idle: a program that outlives its interpreter takes the process down."""
        # Interrupted between a call and its return, the state was handed over and is no array any more.
        with contextlib.suppress(RuntimeError):
            jax.block_until_ready((self._state, self._waiting and self._waiting[1]))

    def _settle(self) -> None:
        if self._waiting is None:
            return
        load, faults = self._waiting
        blame(self._task, self._variables, self.size, load, faults)
        self._waiting = None
        self._done += len(load.label)
        if self._progress is not None:
            self._progress(self._done, len(self._dataset))


def _describe(preprocess: Any) -> str:
    if preprocess is None:
        return "none"
    describe = getattr(preprocess, "describe", None)
    if describe is None:
        return f"{getattr(preprocess, '__module__', '')}.{getattr(preprocess, '__qualname__', preprocess)}"
    told = describe()
    return told if isinstance(told, str) else json.dumps(told, sort_keys=True)
