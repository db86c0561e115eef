"""What the scripts that use JAX share: the workload of benchmarks/sweep.py, the device and its memory."""

from __future__ import annotations

import pathlib
import sys

import jax
import numpy as np
from worker import Result, Work

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import sweep as own

if jax.default_backend() != "cpu":
    jax.config.update("jax_default_matmul_precision", "highest")  # float32 for everyone


def of_jax(work: Work) -> dict:
    """The variables of `own.forward`."""
    layers = zip(work.kernels, work.biases, strict=True)
    return jax.device_put({"conv": [{"kernel": k, "bias": b} for k, b in layers], "head": work.head})


def of_the_host(host: own.OnTheHost) -> Result:
    """What NumPy has added up, by the names that all peers use."""
    result = {}
    for i, m in enumerate(host.maps):
        values = {"mean": m["mean"], "variance": m["squares"] / host.count, "min": m["min"], "max": m["max"]}
        values |= {"min_index": m["at"], "max_index": m["to"], "firing": m["fired"] / host.count}
        result |= {f"{i}.{name}": np.asarray(value) for name, value in values.items()}
    return result


def device_name() -> str:
    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind


def device_peak() -> int | None:
    """Bytes held on the device at most since the process began: JAX cannot begin the count anew."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
