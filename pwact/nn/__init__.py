"""Layers as Flax NNX modules."""

from pwact.nn.conv import Conv
from pwact.nn.pool import Pool

__all__ = ["Conv", "Pool"]
