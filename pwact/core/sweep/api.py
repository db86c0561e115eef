"""One pass of a dataset through a probe into accumulators. Only statistics leave the device."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import xarray as xr

from pwact.core import provenance
from pwact.core.accumulator import Accumulator
from pwact.core.caching import described
from pwact.core.results import to_tree
from pwact.core.sweep import hosts, mesh
from pwact.core.sweep.loop import Run
from pwact.core.sweep.peers import Peers
from pwact.core.sweep.request import accumulators, images_of, known_sites, seconds, sizes
from pwact.core.sweep.resume import Saver
from pwact.core.sweep.state_file import StateFile
from pwact.core.sweep.task import Task, nodes


def sweep(
    probe: Any,
    variables: Any,
    dataset: Any,
    statistics: Mapping[str, Accumulator],
    *,
    sites: Sequence[str],
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    logits: Callable[[Any], jax.Array] | None = None,
    gradient_of: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None,
    devices: Sequence[jax.Device] | None = None,
    batch_size: int = 256,
    micro_batch: int | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    state: str | os.PathLike[str] | None = None,
    save_every: float = 60.0,
    keep_state: bool = False,
) -> xr.DataTree:
    """Statistics of the activations at some sites over every image of a dataset, each image once.

    result[site][statistic.array] = finalize(update(...update(init, load_1)..., load_n))

    Any number of statistics and sites share one forward pass. A load of `batch_size` images is one call
    of one compiled program, which computes on `micro_batch` images at a time so that their activations
    stay in cache. It is compiled once for a probe, sites, statistics and shapes: further sets of
    variables of the same shapes use it again.

    Where `jax.distributed` has joined several processes, all of them make the same call: each reads its
    share of the loads, and the result is the same in all.

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
        gradient_of: (logits, label, prediction) -> one number an image, [batch], such as the label's logit;
            its gradient at every site is what `of_gradient(...)` is a statistic of. Computed only for these.
        batch_size: images read and sent at once; more than there are is fine.
        devices: that share the images of each load; all of this process if None. Each has a copy of the
            model and states of its own, which are merged after each reading of the dataset; a state above
            256 MiB whose channels are on their own is dealt out by channel instead. How many there are may
            change the last bits of sums, never a count, an index or an order statistic.
        micro_batch: images that a device computes on at once. None: guessed from the size of activations and
            cache, and in a long sweep tried on the first images and then remembered, so that the same call
            on the same machine gives the same bits (`pwact.plan` says which). What was used is in the
            attributes.
        memory: bytes that the sweep may take, of each device or on CPU of this process. Statistics that do
            not fit together are swept one group after the other. Each group is a program of its own, and
            may round an activation another way than one of all statistics; within a group, and over
            all of its readings, all see the same bits. None: nine tenths of what is free now.
        progress: called with (images done, images in all) of this process at the beginning and after each
            load; a statistic that reads the dataset twice makes that twice the images.
        state: a file to keep the place of the sweep in, so that the same call goes on after whatever ended
            the process, to the same bits. Beside it stand `.previous`, `.lock` and `.writing`. It is there
            until the result is returned. Of several processes each keeps its own, `.process-0` and so on.
        save_every: seconds between two saves. Where one takes long they are further apart, so that
            saving takes no more than 2 % of the time.
        keep_state: leave the state file when the sweep is complete: the same call then returns the same
            result at once, until you remove it. For callers who save the result, and may fail to.

    Returns:
        A node a site (`pwact.core.node_name` of it) with variables `statistic.array`, named dimensions,
        coordinates where their places have names (`quantile`, `class`, `rank`, `edge`), and provenance in
        the root's attributes. Statistics of two sites, such as `cka()`, have a node
        for every pair, called `earlier & later`.

    Raises:
        PwactError: a question that cannot be answered as asked (each case says what to do); an image that
            cannot be read; a state that cannot be saved, or is of another sweep; another process that
            sweeps something else, raised an error, or gave no sign of life for 20 seconds.
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
    with Peers() as peers, _state_file(state, peers) as file:
        statistics, images = accumulators(statistics), images_of(dataset)
        asked = nodes(known_sites(probe, sites), statistics)
        task = Task(probe, asked, preprocess, logits, gradient_of, mesh.usable(devices))
        batch_size, micro_batch, memory = sizes(images, batch_size, micro_batch, memory)
        provenance.check_finite_variables(variables)
        saver = None if file is None else Saver(file, seconds("save_every", save_every))
        placed = mesh.everywhere(variables, task.devices)
        try:
            run = Run(task, placed, dataset, batch_size, micro_batch, memory, progress, saver, peers)
            results = run.results()
            if keep_state:
                run.keep()
        except KeyboardInterrupt as interrupt:
            told = "The statistics so far are lost." if saver is None else saver.told
            raise KeyboardInterrupt(str(interrupt) or told) from None
        place = run.place
        asked_for = {name: described(acc) for name, acc in statistics.items()}
        tree = to_tree(
            results,
            {
                **provenance.machine(),
                "variables_sha256": provenance.variables_hash(variables),
                "dataset": dataset.name,
                "dataset_sha256": dataset.fingerprint,
                "index_sha256": dataset.index_hash,
                "order": f"by label within each {batch_size} images as they come",
                "order_sha256": place.order,
                "preprocess": _describe(preprocess),
                "sites": json.dumps(list(task.sites)),
                "statistics": json.dumps(asked_for),
                **({} if gradient_of is None else {"gradient_of": described(gradient_of)}),
                "images": images,
                "passes": run.passes,
                "groups": len(place.groups),
                "processes": peers.processes,
                "devices": json.dumps(hosts.devices_of_all(peers, task)),
                "batch_size": batch_size,
                "micro_batch": place.settled.setting.micro_batch,
                "compiler_options": json.dumps(dict(place.settled.setting.options)),
                "settled": place.settled.how,
                "seconds": round(place.seconds, 3),
                "seconds_waiting_for_images": round(place.waited, 3),
                "resumed": json.dumps(place.resumed),
                **({} if file is None or not file.damage else {"state_damage": file.damage}),
                "command": shlex.join(sys.argv),
            },
            asked_for,
            getattr(dataset, "class_names", ()),
        )
        if file is not None and not keep_state:
            file.remove()
    return tree


def _state_file(
    state: str | os.PathLike[str] | None, peers: Peers
) -> contextlib.AbstractContextManager[StateFile | None]:
    return contextlib.nullcontext() if state is None else StateFile(hosts.own_path(state, peers))


def _describe(preprocess: Any) -> str:
    if preprocess is None:
        return "none"
    describe = getattr(preprocess, "describe", None)
    if describe is None:
        return described(preprocess)
    told = describe()
    return told if isinstance(told, str) else json.dumps(told, sort_keys=True)
