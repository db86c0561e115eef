"""Where datasets come from: one file and one factory each. `__all__` is the registry of `pwact.data.load`."""

from pwact.data.sources.bag import bag
from pwact.data.sources.digits import digits
from pwact.data.sources.folder import folder
from pwact.data.sources.mnist5k import mnist5k
from pwact.data.sources.npy import npy
from pwact.data.sources.npz import npz
from pwact.data.sources.relation import relation
from pwact.data.sources.shape_texture import shape_texture
from pwact.data.sources.tfds import tfds

__all__ = ["bag", "digits", "folder", "mnist5k", "npy", "npz", "relation", "shape_texture", "tfds"]
