"""Edits of activations in training: one file and one factory each. `__all__` is the registry."""

from pwact.edits.dropout import dropout
from pwact.edits.edit import Edit as Edit
from pwact.edits.max_dropout import max_dropout

__all__ = ["dropout", "max_dropout"]
