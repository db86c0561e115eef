"""Probe, accumulators, sweep, results: what pwact exists for."""

from pwact.core.accumulator import Accumulator, Named
from pwact.core.boxes import with_boxes
from pwact.core.results import check_same_model, node_name, open_results, save_results

__all__ = [
    "Accumulator",
    "Named",
    "check_same_model",
    "node_name",
    "open_results",
    "save_results",
    "with_boxes",
]
