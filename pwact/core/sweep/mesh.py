"""A sweep on several devices: each computes on some images; states are merged, or dealt by channel."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from pwact.core.accumulator import Accumulator, State
from pwact.core.streaming.conditional import only_if
from pwact.core.streaming.counter import Counter
from pwact.core.sweep.task import Node, Shapes, Task
from pwact.errors import PwactError
from pwact.types import Batch, Observation

AXIS = "device"

LARGE_STATE_BYTES = 256 << 20
"""The state of a statistic above which, if its channels are on their own, they are dealt to the devices."""

States = dict[str, dict[str, State]]


def usable(devices: Sequence[jax.Device] | None) -> tuple[jax.Device, ...]:
    """The devices asked for, once they are some of this process, each once; all of these for None."""
    own = jax.local_devices()
    if devices is None:
        return tuple(own)
    asked = tuple(devices) if isinstance(devices, Sequence) else ()
    if not asked or len(set(asked)) < len(asked) or not set(asked) <= set(own):
        raise PwactError(
            "a sequence of devices of this process, each once",
            str([str(device) for device in asked] if asked else devices),
            f"choose among {[str(device) for device in own]}",
        )
    return asked


def everywhere(tree: Any, devices: tuple[jax.Device, ...]) -> Any:
    """The arrays, a copy of them on every device."""
    return jax.device_put(tree, _sharding(devices))


class Layout(NamedTuple):
    """Where the images of a load and the states of a task lie.

    One device holds all. Several hold a state of their own each, along a leading axis, or some channels
    of the one state that there is.

    Attributes:
        of: the devices.
        by_channel: (node, statistic) of the states that are dealt by channel.
        carry: a sharding for every array of states and count.
    """

    of: tuple[jax.Device, ...]
    by_channel: frozenset[tuple[str, str]]
    carry: Any

    @property
    def devices(self) -> int:
        return len(self.of)

    def deal(self, load: Batch) -> Batch:
        """Micro-batches [number, size, ...] to the devices in turn: [number / devices, device, size, ...]."""
        if self.devices == 1:
            return load
        dealt = _sharding(self.of, None, AXIS)
        return jax.tree.map(
            lambda array: jax.device_put(array.reshape(-1, self.devices, *array.shape[1:]), dealt), load
        )

    def spread(self, nodes: tuple[Node, ...], carry: tuple[States, Any]) -> tuple[States, Any]:
        """States and count that a reading begins with, for every device."""
        if self.devices == 1:
            return carry

        def copies(state: State) -> State:
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (self.devices, *leaf.shape)), state)

        return self._each(nodes, lambda acc, state: copies(state), carry[0]), copies(carry[1])

    def joined(self, nodes: tuple[Node, ...], states: States, reading: int) -> States:
        """The states of all devices merged pair by pair; those dealt by channel as they are.

        Of a statistic that had finished before this reading all devices have the same state.
        """

        def merged(acc: Accumulator, state: State) -> State:
            if acc.passes <= reading:
                return _first(state)
            parts = [jax.tree.map(lambda leaf, at=at: leaf[at], state) for at in range(self.devices)]
            while len(parts) > 1:
                odd = parts[len(parts) // 2 * 2 :]
                parts = [acc.merge(*pair) for pair in zip(parts[::2], parts[1::2], strict=False)] + odd
            return parts[0]

        return self._each(nodes, merged, states)

    def shared(
        self, nodes: tuple[Node, ...], run: Callable[..., Any], micro_batches: int
    ) -> Callable[..., Any]:
        """`run(carry, variables, load, turns)` on every device, with its own states and part of the load."""
        if self.devices == 1:
            return run

        def own(carry: Any, variables: Any, load: Batch, turns: Any) -> Any:
            states, count = carry
            states = self._each(nodes, lambda acc, state: _first(state), states)
            load = jax.tree.map(lambda array: array[:, 0], load)
            (states, count), faults = run((states, _first(count)), variables, load, turns)
            states = self._each(nodes, lambda acc, state: _leading(state), states)
            return (states, _leading(count)), faults[:, None]

        specs = jax.tree.map(lambda sharding: sharding.spec, self.carry)
        dealt, same = PartitionSpec(None, AXIS), PartitionSpec()
        everyone = jax.shard_map(
            own,
            mesh=_mesh(self.of),
            in_specs=(specs, same, dealt, same),
            out_specs=(specs, dealt),
            check_vma=False,
        )

        def all_devices(*arguments: Any) -> Any:
            carry, faults = everyone(*arguments)
            return carry, faults.reshape(micro_batches, -1)

        return all_devices

    def updated(
        self, node: Node, states: dict[str, State], seen: Observation, reading: jax.Array, passes: int
    ) -> dict[str, State]:
        """The states of a node after one micro-batch of a reading out of `passes`; inside `shared`."""
        dealt = any((node.name, name) in self.by_channel for name, _ in node.statistics)
        everyones = _everyones(seen) if dealt else seen

        def update(name: str, acc: Accumulator) -> State:
            own = everyones if (node.name, name) in self.by_channel else seen
            if acc.passes == passes:
                return acc.update(states[name], own)
            return only_if(reading < acc.passes, lambda state: acc.update(state, own), states[name])

        return {name: update(name, acc) for name, acc in node.statistics}

    def specs(self, carry: Any, variables: Any, load: Batch) -> tuple[Any, Any, Batch]:
        """Shapes with where they lie, of what a compiled program is called with."""

        def on(spec: jax.ShapeDtypeStruct, sharding: Sharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(
                spec.shape, spec.dtype, sharding=sharding, weak_type=getattr(spec, "weak_type", False)
            )

        same = _sharding(self.of)
        dealt = _sharding(self.of, None, AXIS)
        if self.devices > 1:
            load = jax.tree.map(
                lambda spec: on(
                    jax.ShapeDtypeStruct(
                        (spec.shape[0] // self.devices, self.devices, *spec.shape[1:]), spec.dtype
                    ),
                    dealt,
                ),
                load,
            )
        return (
            jax.tree.map(on, carry, self.carry),
            jax.tree.map(lambda spec: on(spec, same), variables),
            load,
        )

    def _each(
        self, nodes: tuple[Node, ...], change: Callable[[Accumulator, State], State], states: States
    ) -> States:
        return {
            node.name: {
                name: states[node.name][name]
                if (node.name, name) in self.by_channel
                else change(acc, states[node.name][name])
                for name, acc in node.statistics
            }
            for node in nodes
        }


def layout(task: Task, known: Shapes) -> Layout:
    """Where the states of a task lie; which of them are dealt by channel depends on their size alone."""
    devices = len(task.devices)
    dealt = {
        (node.name, name)
        for node in task.nodes
        for name, acc in node.statistics
        if acc.channelwise
        and not acc.pairwise
        and devices > 1
        and known.of(node).shape[-1] % devices == 0
        and _bytes(jax.eval_shape(acc.init, known.of(node))) > LARGE_STATE_BYTES
    }

    def lies(node: Node, name: str, acc: Accumulator) -> Any:
        spec = known.of(node)
        state = jax.eval_shape(lambda: acc.init(spec))
        if (node.name, name) not in dealt:
            return jax.tree.map(lambda leaf: _sharding(task.devices, AXIS), state)
        wider = jax.ShapeDtypeStruct((*spec.shape[:-1], 2 * spec.shape[-1]), spec.dtype)
        return jax.tree.map(
            lambda leaf, wide: (
                _sharding(task.devices)
                if leaf.shape == wide.shape
                else _sharding(task.devices, *(None,) * (leaf.ndim - 1), AXIS)
            ),
            state,
            jax.eval_shape(lambda: acc.init(wider)),
        )

    states = {
        node.name: {name: lies(node, name, acc) for name, acc in node.statistics} for node in task.nodes
    }
    count = _sharding(task.devices, AXIS)
    return Layout(task.devices, frozenset(dealt), (states, Counter(count, count)))


def _everyones(seen: Observation) -> Observation:
    """All devices' images, of this device's share of the channels: one exchange between the devices."""

    def exchange(array: jax.Array | None) -> jax.Array | None:
        return array if array is None else lax.all_to_all(array, AXIS, array.ndim - 1, 0, tiled=True)

    gather = functools.partial(lax.all_gather, axis_name=AXIS, tiled=True)
    none: Any = None
    whole = jax.tree.map(gather, seen._replace(activation=none, gradient=none))
    return whole._replace(activation=exchange(seen.activation), gradient=exchange(seen.gradient))


def _sharding(devices: tuple[jax.Device, ...], *axes: str | None) -> Any:
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    return NamedSharding(_mesh(devices), PartitionSpec(*axes))


@functools.cache
def _mesh(devices: tuple[jax.Device, ...]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,))


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _leading(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)
