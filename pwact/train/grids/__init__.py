"""Grids: many configurations that differ in named factors, trained, compared and kept."""

from pwact.train.grids.draft import Draft
from pwact.train.grids.factors import parse_vary
from pwact.train.grids.hold import all_but, parse_hold
from pwact.train.grids.run import Grid, grid
from pwact.train.grids.settings import applied, setting
from pwact.train.grids.values import assignment

__all__ = ["Draft", "Grid", "all_but", "applied", "assignment", "grid", "parse_hold", "parse_vary", "setting"]
