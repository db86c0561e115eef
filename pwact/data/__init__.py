"""Datasets: random access by index, fixed splits, recorded preprocessing."""

from pwact.data.arrays import arrays
from pwact.data.dataset import ArrayDataset, Dataset
from pwact.data.load import load
from pwact.data.preprocess import Preprocess
from pwact.data.sources import bag, digits, mnist5k, npz, relation, shape_texture
from pwact.data.split import Subset, split, subset

__all__ = [
    "ArrayDataset",
    "Dataset",
    "Preprocess",
    "Subset",
    "arrays",
    "bag",
    "digits",
    "load",
    "mnist5k",
    "npz",
    "relation",
    "shape_texture",
    "split",
    "subset",
]
