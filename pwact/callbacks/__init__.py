"""Callbacks: one file and one factory each. `__all__` is the registry that recipes read."""

from pwact.callbacks.callback import Callback as Callback
from pwact.callbacks.gradual_pruning import gradual_pruning
from pwact.callbacks.max_norm import max_norm

__all__ = ["gradual_pruning", "max_norm"]
