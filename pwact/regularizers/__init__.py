"""Regularisers: one file and one factory each. `__all__` is the registry that recipes read."""

from pwact.regularizers.l1 import l1
from pwact.regularizers.l2 import l2
from pwact.regularizers.norm_loss import norm_loss
from pwact.regularizers.penalty import Penalty as Penalty

__all__ = ["l1", "l2", "norm_loss"]
