"""Norms: one file and one factory each. `__all__` is the registry that configurations read."""

from pwact.nn.norms.batch import batch
from pwact.nn.norms.bnsr import bnsr
from pwact.nn.norms.group import group
from pwact.nn.norms.layer import layer
from pwact.nn.norms.none import none
from pwact.nn.norms.norm import Norm as Norm
from pwact.nn.norms.stack import stack
from pwact.nn.norms.weight_align import weight_align

__all__ = ["batch", "bnsr", "group", "layer", "none", "stack", "weight_align"]
