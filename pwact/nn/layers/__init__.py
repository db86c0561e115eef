"""Layers: one file and one factory each. `__all__` is the registry that configurations read."""

from pwact.nn.layers.conv import conv
from pwact.nn.layers.layer import Layer as Layer
from pwact.nn.layers.quadratic import quadratic

__all__ = ["conv", "quadratic"]
