"""Augmentation from keys, on the device: one file and one factory each. `__all__` is the registry.

An augmentation takes images as they are stored, before preprocessing, and one key an image.
"""

from pwact.data.augment.augmentation import Augmentation as Augmentation
from pwact.data.augment.augmentation import image_keys as image_keys
from pwact.data.augment.chain import chain
from pwact.data.augment.colour import colour
from pwact.data.augment.crop import crop
from pwact.data.augment.cutout import cutout
from pwact.data.augment.flip import flip

__all__ = ["chain", "colour", "crop", "cutout", "flip"]
