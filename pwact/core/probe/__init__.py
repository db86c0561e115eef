"""A model as a program with named places: capture, edit and cut it there."""

from pwact.core.probe.api import Probe, probe
from pwact.core.probe.cut import Cut
from pwact.core.probe.side_by_side import side_by_side
from pwact.core.probe.site import Site

__all__ = ["Cut", "Probe", "Site", "probe", "side_by_side"]
