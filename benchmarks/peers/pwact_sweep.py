"""pwact.sweep as it comes, without a setting, on the workload of benchmarks/sweep.py."""

from __future__ import annotations

from typing import Any

from jax_common import device_name, device_peak, of_jax, own
from worker import QUANTILES, TOP, Peer, Result, Run, Work, serve

import pwact
from pwact.stats import covariance, per_channel, quantiles, top_k

STATISTICS: dict[str, dict[str, Any]] = {
    "six": own.SIX,
    "covariance": {"covariance": covariance()},
    "top": {"top": top_k(TOP)},
    "quantiles": {"quantiles": per_channel(quantiles(QUANTILES))},
}
NAMES = {  # what the peers call it: what the sweep calls it
    "six": {name: f"moments.{name}" for name in ("mean", "variance")}
    | {name: f"extrema.{name}" for name in ("min", "max", "min_index", "max_index")}
    | {"firing": "firing.share"},
    "covariance": {"covariance": "covariance.covariance"},
    "top": {"value": "top.value", "index": "top.index"},
    "quantiles": {"value": "quantiles.value"},
}


def build(work: Work, task: str, setting: dict[str, Any]) -> Run:
    data = pwact.data.arrays(work.images, work.labels, num_classes=own.CLASSES, name="noise")
    one_sweep = own.sweeper(of_jax(work), data, STATISTICS[task], **setting)

    def run() -> Result:
        result = {}
        for i, node in enumerate(one_sweep().leaves):
            values = {name: node[theirs].values for name, theirs in NAMES[task].items()}
            if task in ("top", "quantiles"):
                values = {name: value.T for name, value in values.items()}  # [channel, rank or quantile]
            result |= {f"{i}.{name}": value for name, value in values.items()}
        return result

    return run


if __name__ == "__main__":
    choices: dict[str, dict[str, tuple]] = {task: {} for task in STATISTICS}
    serve(Peer(build, choices, ("jax", "flax", "numpy"), device_name, device_peak))
