"""Controlled training of many networks at once."""

from pwact.train.checkpoint import load_checkpoint, save_checkpoint
from pwact.train.evaluate import evaluate, predict, results_table
from pwact.train.grids import Grid, grid
from pwact.train.loop import log_spaced, train
from pwact.train.recipe import MEMORISE, QUICK, Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import STREAMS, Intervention, Member

__all__ = [
    "MEMORISE",
    "QUICK",
    "STREAMS",
    "Grid",
    "Intervention",
    "Member",
    "Recipe",
    "Trained",
    "evaluate",
    "grid",
    "load_checkpoint",
    "log_spaced",
    "predict",
    "results_table",
    "save_checkpoint",
    "train",
]
