"""TorchLens's preview for JAX: it goes through the program operation by operation and keeps every value.

It takes a function, does not stream, and has no statistics of JAX arrays; NumPy adds them up on the host, as
in numpy_loops.py.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import torchlens
from jax_common import device_name, device_peak, of_jax, of_the_host, own
from worker import Peer, Result, Run, Work, serve


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    variables = of_jax(work)

    def logits(variables: dict, x: jax.Array) -> jax.Array:
        return own.forward(variables, x)[0]

    def look(x: jax.Array) -> list[np.ndarray]:
        trace = torchlens.trace(logits, (variables, x), backend="jax")
        labels = [label for label in trace.layer_labels if label.startswith("max_")]
        return [np.asarray(trace[label].out) for label in labels]

    def run() -> Result:
        host = own.OnTheHost()
        for start in range(0, len(work.images), setting["batch"]):
            host.add(look(jax.device_put(work.images[start : start + setting["batch"]])), start)
        return of_the_host(host)

    return run


if __name__ == "__main__":
    choices: dict[str, dict[str, tuple]] = {"six": {"batch": (64, 32, 128, 256)}}
    serve(Peer(build, choices, ("torchlens", "jax", "numpy"), device_name, device_peak))
