"""Layers as Flax NNX modules, and the rooms of norms, layers and activations that a configuration names."""

from pwact.nn.conv import Conv
from pwact.nn.pool import Pool

__all__ = ["Conv", "Pool"]
