"""Initialisers: one file and one factory each. `__all__` is the registry that recipes read."""

from pwact.initializers.default import default
from pwact.initializers.glorot_uniform import glorot_uniform
from pwact.initializers.hcore import hcore
from pwact.initializers.he_normal import he_normal
from pwact.initializers.initializer import Initializer as Initializer
from pwact.initializers.orthogonal import orthogonal

__all__ = ["default", "glorot_uniform", "hcore", "he_normal", "orthogonal"]
