"""Accumulators: one statistic a file. `__all__` is the registry that the command line reads."""

from pwact.core.combinators import by_class, named, on, per_channel
from pwact.stats.extrema import extrema
from pwact.stats.firing import firing
from pwact.stats.moments import moments
from pwact.stats.top_k import top_k

__all__ = ["by_class", "extrema", "firing", "moments", "named", "on", "per_channel", "top_k"]
