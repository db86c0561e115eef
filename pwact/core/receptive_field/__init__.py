"""Which pixels of the input a point of an activation depends on, read from the program itself.

For every value of a program and every axis of the image, a `View` says which part of that axis an entry of
the value sees: a window that moves with the entry's position. Each operation changes views by a small rule.
For convolutions this is the recursion of Araujo, Norris and Sim, "Computing receptive fields of
convolutional neural networks", Distill 2019; the other rules follow from what the operations read.
"""

from pwact.core.receptive_field.field import ReceptiveField
from pwact.core.receptive_field.follow import Fields

__all__ = ["Fields", "ReceptiveField"]
