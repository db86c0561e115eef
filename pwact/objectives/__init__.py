"""Losses: one file and one factory each. `__all__` is the registry that recipes read."""

from pwact.objectives.cross_entropy import cross_entropy
from pwact.objectives.gccs import gccs
from pwact.objectives.mean_square import mean_square
from pwact.objectives.objective import Objective as Objective

__all__ = ["cross_entropy", "gccs", "mean_square"]
