"""Controlled training of many seeds at once."""

from pwact.train.checkpoint import load_checkpoint, save_checkpoint
from pwact.train.evaluate import evaluate, predict, results_table
from pwact.train.loop import train
from pwact.train.recipe import MEMORISE, QUICK, Recipe
from pwact.train.trained import Trained
from pwact.train.treatment import Intervention

__all__ = [
    "MEMORISE",
    "QUICK",
    "Intervention",
    "Recipe",
    "Trained",
    "evaluate",
    "load_checkpoint",
    "predict",
    "results_table",
    "save_checkpoint",
    "train",
]
