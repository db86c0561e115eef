"""One pass of a dataset through a probe into accumulators. Only statistics leave the device."""

from pwact.core.sweep.api import sweep

__all__ = ["sweep"]
