"""Datasets: random access by index, fixed splits, recorded preprocessing."""

from pwact.data import augment
from pwact.data.arrays import arrays
from pwact.data.corrupted import Corrupted, corrupted
from pwact.data.dataset import ArrayDataset, Dataset
from pwact.data.load import load
from pwact.data.preprocess import Preprocess
from pwact.data.sources import bag, digits, folder, mnist5k, npy, npz, relation, shape_texture, tfds
from pwact.data.split import Subset, split, subset
from pwact.data.stored import StoredDataset

__all__ = [
    "ArrayDataset",
    "Corrupted",
    "Dataset",
    "Preprocess",
    "StoredDataset",
    "Subset",
    "arrays",
    "augment",
    "bag",
    "corrupted",
    "digits",
    "folder",
    "load",
    "mnist5k",
    "npy",
    "npz",
    "relation",
    "shape_texture",
    "split",
    "subset",
    "tfds",
]
