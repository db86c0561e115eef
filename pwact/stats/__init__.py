"""Accumulators: one statistic a file. `__all__` is the registry that the command line reads."""

from pwact.core.combinators import by_class, named, on, per_channel
from pwact.stats.accuracy import accuracy
from pwact.stats.agreement import agreement
from pwact.stats.calibration_error import calibration_error
from pwact.stats.confusion import confusion
from pwact.stats.extrema import extrema
from pwact.stats.firing import firing
from pwact.stats.gradients import gradient_times_activation, of_gradient
from pwact.stats.moments import moments
from pwact.stats.mutual_information import mutual_information
from pwact.stats.selectivity import selectivity
from pwact.stats.top_k import top_k

__all__ = [
    "accuracy",
    "agreement",
    "by_class",
    "calibration_error",
    "confusion",
    "extrema",
    "firing",
    "gradient_times_activation",
    "moments",
    "mutual_information",
    "named",
    "of_gradient",
    "on",
    "per_channel",
    "selectivity",
    "top_k",
]
