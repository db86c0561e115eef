"""The naive way: activations are fetched to the host and added up by NumPy, by batches or image by image."""

from __future__ import annotations

from typing import Any

from jax_common import device_name, device_peak, of_jax, of_the_host, own
from worker import Peer, Result, Run, Work, serve


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    one_pass = own.naive(of_jax(work), work.images, setting["batch"])

    def run() -> Result:
        return of_the_host(one_pass())

    return run


if __name__ == "__main__":
    choices: dict[str, dict[str, tuple]] = {
        "six": {"batch": (64, 16, 32, 128, 256)},
        "six by image": {"batch": (1,)},
    }
    serve(Peer(build, choices, ("jax", "numpy"), device_name, device_peak))
