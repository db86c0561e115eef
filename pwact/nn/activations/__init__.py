"""Activation functions: one file and one factory each. `__all__` is the registry that configurations read."""

from pwact.nn.activations.activation import Activation as Activation
from pwact.nn.activations.elu import elu
from pwact.nn.activations.gelu import gelu
from pwact.nn.activations.leaky_relu import leaky_relu
from pwact.nn.activations.linear import linear
from pwact.nn.activations.prelu import prelu
from pwact.nn.activations.relu import relu

__all__ = ["elu", "gelu", "leaky_relu", "linear", "prelu", "relu"]
