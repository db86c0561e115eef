"""What a JAX user would write: Flax's ways to intermediates and NumPy, or a jitted update by hand.

- `linen_capture`: Linen's `capture_intermediates`, NumPy on the host;
- `linen_sow`: Linen's `sow`, NumPy on the host;
- `nnx_sow`: NNX's `sow` and `nnx.capture`, NumPy on the host;
- task `six by hand`: one jitted update of the six statistics a batch, nothing leaves the device in between;
- task `forward`: the bare forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax_common import device_name, device_peak, of_jax, of_the_host, own
from worker import Peer, Result, Run, Work, serve

BATCHES = (64, 16, 32, 128, 256)


class Block(linen.Module):
    channels: int
    stride: int

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = linen.relu(linen.Conv(self.channels, (3, 3), (self.stride, self.stride), name="conv")(x))
        self.sow("sown", "relu", x)
        return x


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, (channels, stride) in enumerate(own.LAYERS):
            x = Block(channels, stride, name=f"block{i}")(x)
        return linen.Dense(own.CLASSES, use_bias=False, name="head")(x.mean((1, 2)))


class NNX(nnx.Module):
    def __init__(self, variables: dict):
        rngs, before = nnx.Rngs(0), 3
        self.convs = nnx.List([])
        for layer, (channels, stride) in zip(variables["conv"], own.LAYERS, strict=True):
            conv = nnx.Conv(before, channels, (3, 3), (stride, stride), rngs=rngs)
            conv.kernel[...], conv.bias[...] = layer["kernel"], layer["bias"]
            self.convs.append(conv)
            before = channels
        self.head = nnx.Linear(before, own.CLASSES, use_bias=False, rngs=rngs)
        self.head.kernel[...] = variables["head"]

    def __call__(self, x: jax.Array) -> jax.Array:
        for i, conv in enumerate(self.convs):
            x = nnx.relu(conv(x))
            self.sow(nnx.Intermediate, f"relu{i}", x)
        return self.head(x.mean((1, 2)))


def looker(variables: dict, way: str) -> Callable[[np.ndarray], list[jax.Array]]:
    """A function of a batch that gives the four maps."""
    layers = range(len(own.LAYERS))
    if way == "nnx_sow":
        forward = nnx.jit(nnx.capture(lambda model, x: model(x), nnx.Intermediate))
        model = NNX(variables)

        def look_nnx(x: np.ndarray) -> list[jax.Array]:
            _, state = forward(model, x)
            return [state[f"relu{i}"].get_value()[0] for i in layers]

        return look_nnx
    parameters = {f"block{i}": {"conv": variables["conv"][i]} for i in layers} | {
        "head": {"kernel": variables["head"]}
    }

    @jax.jit
    def look(x: jax.Array) -> list[jax.Array]:
        if way == "linen_capture":
            keep = {"capture_intermediates": lambda module, _: isinstance(module, Block)}
            _, state = Linen().apply({"params": parameters}, x, mutable=["intermediates"], **keep)
            return [state["intermediates"][f"block{i}"]["__call__"][0] for i in layers]
        _, state = Linen().apply({"params": parameters}, x, mutable=["sown"])
        return [state["sown"][f"block{i}"]["relu"][0] for i in layers]

    return look


def on_the_host(work: Work, setting: dict[str, Any]) -> Run:
    look = looker(of_jax(work), setting["way"])

    def run() -> Result:
        host = own.OnTheHost()
        for start in range(0, len(work.images), setting["batch"]):
            host.add([np.asarray(a) for a in look(work.images[start : start + setting["batch"]])], start)
        return of_the_host(host)

    return run


def updated(state: dict[str, jax.Array], a: jax.Array, start: jax.Array) -> dict[str, jax.Array]:
    """Six statistics after one more batch (Chan, Golub, LeVeque)."""
    n = len(a)
    mean = a.mean(0)
    delta, share = mean - state["mean"], n / (start + n)
    low, high = a.min(0), a.max(0)
    lower, higher = low < state["min"], high > state["max"]
    return {
        "mean": state["mean"] + delta * share,
        "squares": state["squares"] + ((a - mean[None]) ** 2).sum(0) + delta**2 * (start * share),
        "fired": state["fired"] + (a > 0).sum(0),
        "min": jnp.minimum(low, state["min"]),
        "max": jnp.maximum(high, state["max"]),
        "min_index": jnp.where(lower, start + a.argmin(0), state["min_index"]),
        "max_index": jnp.where(higher, start + a.argmax(0), state["max_index"]),
    }


def by_hand(work: Work, setting: dict[str, Any]) -> Run:
    variables, size = of_jax(work), setting["batch"]

    def step(states: list, variables: dict, x: jax.Array, start: jax.Array) -> list:
        _, maps = own.forward(variables, x)
        return [updated(state, a, start) for state, a in zip(states, maps, strict=True)]

    one_step = jax.jit(step, donate_argnums=0)
    shapes = [a.shape[1:] for a in jax.eval_shape(own.forward, variables, work.images[:1])[1]]

    def run() -> Result:
        states = []
        for shape in shapes:
            floats = {name: jnp.zeros(shape) for name in ("mean", "squares")}
            counts = {name: jnp.zeros(shape, jnp.int32) for name in ("fired", "min_index", "max_index")}
            edges = {"min": jnp.full(shape, jnp.inf), "max": jnp.full(shape, -jnp.inf)}
            states.append(floats | counts | edges)
        for start in range(0, len(work.images), size):
            states = one_step(states, variables, work.images[start : start + size], start)
        result = {}
        for i, state in enumerate(jax.device_get(states)):
            squares, fired = state.pop("squares"), state.pop("fired")
            state |= {"variance": squares / len(work.images), "firing": fired / len(work.images)}
            result |= {f"{i}.{name}": value for name, value in state.items()}
        return result

    return run


def bare(work: Work, setting: dict[str, Any]) -> Run:
    variables, size = of_jax(work), setting["batch"]
    options = own.backend.compiler_options() if setting["options"] == "the sweep's" else {}
    forward = jax.jit(lambda variables, x: own.forward(variables, x)[0], compiler_options=options)

    def run() -> Result:
        starts = range(0, len(work.images), size)
        logits = [forward(variables, work.images[start : start + size]) for start in starts]
        return {"logits": np.concatenate(jax.device_get(logits))}

    return run


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    return {"six": on_the_host, "six by hand": by_hand, "forward": bare}[task](work, setting)


if __name__ == "__main__":
    choices = {
        "six": {"way": ("linen_capture", "linen_sow", "nnx_sow"), "batch": BATCHES},
        "six by hand": {"batch": (*BATCHES, 8)},
        "forward": {"options": ("default", "the sweep's"), "batch": (*BATCHES, 8)},
    }
    serve(Peer(build, choices, ("jax", "flax", "numpy"), device_name, device_peak))
